"""Asking the user service."""

from collections.abc import Sequence
from uuid import UUID

from ..auth import Bearer, anonymous
from ..contracts.common import Many, Page
from ..contracts.quota import Quota, QuotaSet, Reservation, ReservationCreate, Resource, TenantQuota
from ..contracts.user import (
    Credentials,
    PasswordChange,
    RefreshRequest,
    Registration,
    Tenant,
    TenantCreate,
    Tokens,
    User,
    UserCreate,
    UserPatch,
    UserStatistics,
    UserSuspend,
)
from ..http.client import ServiceClient, joined, path_of
from .listing import Listing


class UserClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def login(self, credentials: Credentials) -> Tokens:
        """Raises InvalidCredentials, AccountSuspended, LimitExceeded while the address is locked."""
        return await self.http.send("POST", "/v1/auth/login", Tokens, credentials, bearer=anonymous)

    async def refresh(self, token: RefreshRequest) -> Tokens:
        """Raises Unauthorized, TokenReused, AccountSuspended."""
        return await self.http.send("POST", "/v1/auth/refresh", Tokens, token, bearer=anonymous)

    async def logout(self, bearer: Bearer) -> None:
        """Ends every session of the caller."""
        await self.http.send("POST", "/v1/auth/logout", type(None), bearer=bearer)

    async def register(self, registration: Registration) -> User:
        """Raises AlreadyExists, NotFound for an unknown tenant."""
        return await self.http.send("POST", "/v1/auth/register", User, registration, bearer=anonymous)

    async def get(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> User:
        return await self.http.get(path_of("/v1/users/{}", user_id), User, bearer=bearer)

    async def get_many(self, user_ids: Sequence[UUID | str], *, bearer: Bearer | None = None) -> Many[User]:
        return await self.http.get("/v1/users/batch", Many[User], params={"ids": joined(user_ids)}, bearer=bearer)

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[User]:
        """Filters: `status`, `role`, `tenantId`."""
        return await self.http.get("/v1/users", Page[User], params=listing.params(), bearer=bearer)

    async def most_active(self, count: int) -> list[User]:
        """The most recently active users, latest first; at most 1,000."""
        return await self.http.get("/v1/users/most-active", list[User], params={"count": count})

    async def statistics(self, *, bearer: Bearer | None = None) -> UserStatistics:
        return await self.http.get("/v1/users/statistics", UserStatistics, bearer=bearer)

    async def create(self, user: UserCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> User:
        return await self.http.send("POST", "/v1/users", User, user, bearer=bearer, idempotency_key=idempotency_key)

    async def change(self, user_id: UUID, patch: UserPatch, bearer: Bearer, *, if_match: str | None = None) -> User:
        return await self.http.send(
            "PATCH", path_of("/v1/users/{}", user_id), User, patch, bearer=bearer, if_match=if_match
        )

    async def suspend(self, user_id: UUID, reason: UserSuspend, bearer: Bearer, *, if_match: str | None = None) -> User:
        return await self.http.send(
            "POST", path_of("/v1/users/{}/suspend", user_id), User, reason, bearer=bearer, if_match=if_match
        )

    async def reinstate(self, user_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> User:
        return await self.http.send(
            "POST", path_of("/v1/users/{}/reinstate", user_id), User, bearer=bearer, if_match=if_match
        )

    async def delete(self, user_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> None:
        await self.http.send("DELETE", path_of("/v1/users/{}", user_id), type(None), bearer=bearer, if_match=if_match)

    async def change_password(self, change: PasswordChange, bearer: Bearer) -> None:
        """The caller's own. Ends every session. Raises InvalidCredentials."""
        await self.http.send("POST", "/v1/users/me/password", type(None), change, bearer=bearer)

    async def tenant_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Tenant]:
        """Of those that the caller sees. Depends on `tenants:all` and each tenant."""
        return await self.http.get("/v1/tenants", Page[Tenant], params=listing.params(), bearer=bearer)

    async def tenant(self, tenant_id: UUID | str, *, bearer: Bearer | None = None) -> Tenant:
        return await self.http.get(path_of("/v1/tenants/{}", tenant_id), Tenant, bearer=bearer)

    async def create_tenant(
        self, tenant: TenantCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Tenant:
        return await self.http.send(
            "POST", "/v1/tenants", Tenant, tenant, bearer=bearer, idempotency_key=idempotency_key
        )

    async def reserve_quota(self, wanted: ReservationCreate) -> Reservation:
        """Raises QuotaExceeded with `limit` and `used`; StateConflict when it was released before, or the account is
        not active; NotFound for an unknown user. May be asked again at any time."""
        return await self.http.send(
            "POST", "/v1/quota-reservations", Reservation, wanted, idempotency_key=f"reserve-{wanted.id}"
        )

    async def commit_quota(self, reservation_id: UUID | str) -> Reservation:
        """Any number of times. Raises StateConflict for a released one, NotFound."""
        path = path_of("/v1/quota-reservations/{}/commit", reservation_id)
        return await self.http.send("POST", path, Reservation, idempotency_key=f"commit-{reservation_id}")

    async def release_quota(self, reservation_id: UUID | str) -> Reservation:
        """Any number of times, committed or not. One never heard of can no longer be made afterwards."""
        path = path_of("/v1/quota-reservations/{}/release", reservation_id)
        return await self.http.send("POST", path, Reservation, idempotency_key=f"release-{reservation_id}")

    async def quotas(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> list[Quota]:
        """One per resource. Depends on the user's quotas and his tenant."""
        return await self.http.get(path_of("/v1/users/{}/quotas", user_id), list[Quota], bearer=bearer)

    async def set_quota(self, user_id: UUID | str, resource: Resource, limit: QuotaSet, bearer: Bearer) -> Quota:
        path = path_of("/v1/users/{}/quotas/{}", user_id, resource)
        return await self.http.send("PUT", path, Quota, limit, bearer=bearer)

    async def tenant_quotas(self, tenant_id: UUID | str, *, bearer: Bearer | None = None) -> list[TenantQuota]:
        return await self.http.get(path_of("/v1/tenants/{}/quotas", tenant_id), list[TenantQuota], bearer=bearer)

    async def set_tenant_quota(
        self, tenant_id: UUID | str, resource: Resource, limit: QuotaSet, bearer: Bearer
    ) -> TenantQuota:
        path = path_of("/v1/tenants/{}/quotas/{}", tenant_id, resource)
        return await self.http.send("PUT", path, TenantQuota, limit, bearer=bearer)
