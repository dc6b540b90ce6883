"""How much of something a user may have: asked by who gives it, before it is given."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from .common import Contract, Request

Resource = Literal["devices"]
ReservationState = Literal["held", "committed", "released"]


class Quota(Contract, frozen=True, kw_only=True):
    """`limit` is the user's own, the tenant's where the user has none, or the platform's; `used` is held or
    committed."""

    user_id: UUID
    resource: Resource
    limit: int
    used: int
    source: Literal["user", "tenant", "default"]


class QuotaSet(Request, frozen=True, kw_only=True):
    """`limit` None: as the tenant, or the platform, has it."""

    limit: Annotated[int, Meta(ge=0, le=1_000_000)] | None


class TenantQuota(Contract, frozen=True, kw_only=True):
    """What each of the tenant's users may have who has no limit of his own."""

    tenant_id: UUID
    resource: Resource
    limit: int
    source: Literal["tenant", "default"]


class Reservation(Contract, frozen=True, kw_only=True):
    """Nobody's, with an amount of 0, when it was released before it was asked for."""

    id: UUID
    user_id: UUID | None
    tenant_id: UUID | None
    resource: Resource | None
    amount: int
    state: ReservationState
    created_at: datetime
    updated_at: datetime


class ReservationCreate(Request, frozen=True, kw_only=True):
    """Asked again with the same `id`, it answers with what stands."""

    id: UUID
    user_id: UUID
    resource: Resource = "devices"
    amount: Annotated[int, Meta(ge=1, le=1000)] = 1
