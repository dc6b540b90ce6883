"""What the user service answers and accepts: accounts, tenants, tokens."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Email, Name, Request

Role = Literal["admin", "operator", "support", "customer"]
DataScope = Literal["all", "tenant", "self"]
"""Whose rows a caller sees: everybody's, the own tenant's, the own."""
UserStatus = Literal["active", "inactive", "suspended", "deleted"]
Password = Annotated[str, Meta(min_length=10, max_length=200, pattern=r"^[^\x00]*$")]

USER_SORTS = ("name", "email", "createdAt", "lastActiveAt")


class Tenant(Contract, frozen=True, kw_only=True):
    id: UUID
    name: str
    slug: str
    created_at: datetime


class User(Contract, frozen=True, kw_only=True):
    """`version` is the resource's own version, its ETag on writes.

    `last_active_at` is as of a login or refresh at most five minutes before the last one.
    """

    id: UUID
    tenant_id: UUID
    tenant_name: str
    name: str
    email: str
    role: Role
    data_scope: DataScope
    status: UserStatus
    phone: str | None = None
    locale: str = "en"
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime | None = None
    version: int


class UserCreate(Request, frozen=True, kw_only=True):
    """`tenant_id` defaults to the caller's; only a caller who sees all tenants may name another.

    `data_scope` defaults to "self" for a customer, who has no other, and to "tenant" for everybody else.
    """

    name: Name
    email: Email
    password: Password
    role: Role = "customer"
    data_scope: DataScope | None = None
    tenant_id: UUID | None = None
    phone: Annotated[str, Meta(max_length=32, pattern=r"^\+?[0-9 ()-]{3,32}$")] | None = None
    locale: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] = "en"


class UserPatch(Request, frozen=True, kw_only=True):
    """Fields left out stay as they are. `role`, `data_scope`, and `email` of others, need `users:manage`.

    A role that the data scope does not go with takes its own: "self" for a customer, "tenant" for everybody else.
    """

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    data_scope: DataScope | UnsetType = UNSET
    phone: Annotated[str, Meta(max_length=32, pattern=r"^\+?[0-9 ()-]{3,32}$")] | None | UnsetType = UNSET
    locale: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] | UnsetType = UNSET


class UserSuspend(Request, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class PasswordChange(Request, frozen=True, kw_only=True):
    current_password: Annotated[str, Meta(max_length=200)]
    new_password: Password


class TenantCreate(Request, frozen=True, kw_only=True):
    name: Name
    slug: Annotated[str, Meta(min_length=2, max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Registration(Request, frozen=True, kw_only=True):
    """A new customer's account in the tenant named by its slug."""

    tenant: Annotated[str, Meta(min_length=2, max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*$")]
    name: Name
    email: Email
    password: Password


class Credentials(Request, frozen=True, kw_only=True):
    email: Annotated[str, Meta(min_length=1, max_length=254, pattern=r"^[^\x00]*$")]
    password: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class RefreshRequest(Request, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]*$")]


class ServiceCredentials(Request, frozen=True, kw_only=True):
    client_id: Annotated[str, Meta(max_length=60)]
    client_secret: Annotated[str, Meta(max_length=200)]


class Tokens(Contract, frozen=True, kw_only=True):
    """`expires_in`: seconds until the access token expires."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105


class ServiceToken(Contract, frozen=True, kw_only=True):
    access_token: str
    expires_in: int


class UserStatistics(Contract, frozen=True, kw_only=True):
    total: int
    by_status: dict[str, int]
    by_role: dict[str, int]
