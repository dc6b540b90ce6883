"""The tables of identity."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.quota import ReservationState, Resource
from cloudphone_shared.contracts.user import DataScope, Role, UserStatus
from cloudphone_shared.database import SCHEMAS, base

SCHEMA = SCHEMAS["user"]
Base = base(SCHEMA)

KeyState = Literal["next", "active", "passive", "retired"]
_PRESENT = text("deleted_at IS NULL")


class TenantRow(Base):
    __tablename__ = "tenants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class UserRow(Base):
    """`email_key` is the address as it is compared, None once deleted: so the address is free again."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(TenantRow.id))
    name: Mapped[str]
    email: Mapped[str]
    email_key: Mapped[str | None] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    role: Mapped[Role] = mapped_column(String(20))
    data_scope: Mapped[DataScope] = mapped_column(String(10))
    status: Mapped[UserStatus] = mapped_column(String(20))
    suspension_reason: Mapped[str | None]
    phone: Mapped[str | None]
    locale: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_active_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name="deleted_when"),
        CheckConstraint("(deleted_at IS NULL) = (email_key IS NOT NULL)", name="address_while_present"),
        CheckConstraint("(role = 'customer') = (data_scope = 'self')", name="customers_see_their_own"),
        Index(None, "tenant_id", "created_at", "id", postgresql_where=_PRESENT),
        Index(None, "created_at", "id", postgresql_where=_PRESENT),
        Index(None, "name", "id", postgresql_where=_PRESENT),
        Index(None, "email", "id", postgresql_where=_PRESENT),
        Index(None, "last_active_at", "id", postgresql_where=_PRESENT),
        Index(None, "role", "status", postgresql_where=_PRESENT),
        {"schema": SCHEMA},
    )


class SessionRow(Base):
    """A sign-in and the refresh tokens that came of it; `generation` counts the rotations."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(UserRow.id), index=True)
    generation: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    revoked_because: Mapped[str | None]


class RefreshTokenRow(Base):
    """Only the token's SHA-256 is kept. `replaced_at` is when it was rotated; to use it later is theft."""

    __tablename__ = "refresh_tokens"

    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey(SessionRow.id, ondelete="CASCADE"), index=True)
    generation: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    replaced_at: Mapped[datetime | None]


class SignInFailuresRow(Base):
    """Failed sign-ins in a row, per SHA-256 of an address, whether or not an account has it."""

    __tablename__ = "sign_in_failures"

    address: Mapped[bytes] = mapped_column(primary_key=True)
    failures: Mapped[int]
    failed_at: Mapped[datetime] = mapped_column(index=True)
    locked_until: Mapped[datetime | None]


class SigningKeyRow(Base):
    """`sealed` is the private key, encrypted; None once it no longer signs. `since` is when the state began."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[KeyState] = mapped_column(String(10))
    public: Mapped[bytes]
    sealed: Mapped[bytes | None]
    created_at: Mapped[datetime]
    since: Mapped[datetime]

    __table_args__ = (
        Index("uq_signing_keys_active", "state", unique=True, postgresql_where=text("state = 'active'")),
        {"schema": SCHEMA},
    )


class QuotaRow(Base):
    """`owner_id` is a user, or a tenant whose users have this limit each unless they have one of their own."""

    __tablename__ = "quotas"

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    resource: Mapped[Resource] = mapped_column(String(20), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(TenantRow.id))
    limit: Mapped[int]
    updated_at: Mapped[datetime]

    __table_args__ = (CheckConstraint('"limit" >= 0', name="limit_from_nothing"), {"schema": SCHEMA})


class ReservationRow(Base):
    """Nobody's, and of nothing, when it was released before it was asked for: so that it cannot be made any more."""

    __tablename__ = "quota_reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(UserRow.id))
    tenant_id: Mapped[UUID | None]
    resource: Mapped[Resource | None] = mapped_column(String(20))
    amount: Mapped[int]
    state: Mapped[ReservationState] = mapped_column(String(10))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("state IN ('held', 'committed', 'released')", name="state"),
        CheckConstraint(
            "num_nulls(user_id, tenant_id, resource) = 0 AND amount > 0"
            " OR num_nonnulls(user_id, tenant_id, resource) = 0 AND amount = 0 AND state = 'released'",
            name="somebodys_unless_refused_beforehand",
        ),
        Index(
            "ix_quota_reservations_user_id_resource",
            "user_id",
            "resource",
            postgresql_where=text("state <> 'released'"),
        ),
        {"schema": SCHEMA},
    )
