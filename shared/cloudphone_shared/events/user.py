"""What the user service announces."""

from typing import ClassVar
from uuid import UUID

from .envelope import Event


class UserCreated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "user.created"
    public: ClassVar[bool] = True
    user_id: UUID
    tenant_id: UUID
    name: str
    email: str
    role: str


class UserUpdated(Event, frozen=True, kw_only=True):
    """`changed` names the fields; `name` and `email` are the values after the change."""

    type: ClassVar[str] = "user.updated"
    user_id: UUID
    tenant_id: UUID
    name: str
    email: str
    status: str
    changed: list[str]


class UserDeleted(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "user.deleted"
    user_id: UUID
    tenant_id: UUID


class SessionsRevoked(Event, frozen=True, kw_only=True):
    """Every access token of the user issued before is void."""

    type: ClassVar[str] = "user.sessions-revoked"
    public: ClassVar[bool] = True
    user_id: UUID
    reason: str


class TenantCreated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tenant.created"
    public: ClassVar[bool] = True
    tenant_id: UUID
    name: str


class TenantUpdated(Event, frozen=True, kw_only=True):
    """`changed` names the fields."""

    type: ClassVar[str] = "tenant.updated"
    public: ClassVar[bool] = True
    tenant_id: UUID
    changed: list[str]


class QuotaChanged(Event, frozen=True, kw_only=True):
    """A user's limit was set, or a reservation was made, committed or released."""

    type: ClassVar[str] = "quota.changed"
    public: ClassVar[bool] = True
    user_id: UUID
    resource: str
    limit: int
    used: int
    tenant_id: UUID | None = None


class QuotaRefused(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "quota.exceeded"
    public: ClassVar[bool] = True
    user_id: UUID
    resource: str
    limit: int
    used: int
    wanted: int
    tenant_id: UUID | None = None
