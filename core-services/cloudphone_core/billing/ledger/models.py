"""The ledger's tables. Whatever they promise, the database keeps: see the triggers of the third migration.

The application writes transfers alone. Booking one makes its entries and moves its user's accounts, by trigger.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.ledger import AccountKind, AdjustmentState, TransferKind, TransferState

from ..models import SCHEMA, Base, Moment


class AccountRow(Base):
    """A user's wallet or receivable, or one of the tenant's. `id` follows from the other four: see `Account.id`.

    `balance` (posted), `held` and `lines` (how many entries) are kept for a user's accounts only: a figure on the
    tenant's would be one row that every customer's purchase waits for. Theirs are added up from the entries.
    """

    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    kind: Mapped[AccountKind] = mapped_column(String(12))
    owner_id: Mapped[UUID | None]
    currency: Mapped[str] = mapped_column(String(3))
    balance: Mapped[int | None] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lines: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    opened_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint(
            "tenant_id", "kind", "owner_id", "currency", name="uq_accounts_place", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint("(owner_id IS NOT NULL) = (kind IN ('wallet', 'receivable'))", name="users_or_tenants"),
        CheckConstraint("(balance IS NULL) = (owner_id IS NULL)", name="kept_for_users"),
        CheckConstraint("held >= 0 AND (held = 0 OR kind = 'wallet')", name="wallets_hold"),
        CheckConstraint("kind <> 'wallet' OR balance - held >= 0", name="never_overdrawn"),
        Index(None, "owner_id", postgresql_where=text("owner_id IS NOT NULL")),
        {"schema": SCHEMA},
    )


class TransferRow(Base):
    """What moves: `amounts[n]` on `account_ids[n]`. Written once; a pending one is settled once.

    `user_id`: whose wallet or receivable is among the accounts; at most one user's are. `settled_at` never comes
    before an earlier entry of that user's accounts.
    """

    __tablename__ = "transfers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    key: Mapped[str]
    kind: Mapped[TransferKind] = mapped_column(String(12))
    state: Mapped[TransferState] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    user_id: Mapped[UUID | None]
    account_ids: Mapped[list[UUID]]
    amounts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    reason: Mapped[str]
    reference: Mapped[str | None]
    actor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    settled_reason: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "key", name="uq_transfers_key"),
        CheckConstraint("state IN ('pending', 'posted', 'voided', 'expired')", name="known_state"),
        CheckConstraint("(state = 'pending') = (settled_at IS NULL)", name="settled_at_some_time"),
        CheckConstraint("cardinality(account_ids) = cardinality(amounts)", name="an_amount_each"),
        CheckConstraint("billing.total(amounts) = 0", name="adds_up"),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index("ix_transfers_posted", "settled_at", "tenant_id", postgresql_where=text("state = 'posted'")),
        Index("ix_transfers_pending", "expires_at", postgresql_where=text("state = 'pending'")),
        {"schema": SCHEMA},
    )


class EntryRow(Base):
    """A line of a posted transfer. `number` and `balance_after` tell its place among those of a user's account."""

    __tablename__ = "entries"

    transfer_id: Mapped[UUID] = mapped_column(ForeignKey(TransferRow.id), primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    account_id: Mapped[UUID]
    """No foreign key: its check would lock the one row of a tenant's revenue for every purchase. Accounts are never
    deleted, and the transfer's deferred check wants each of them to be there."""
    amount: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int | None] = mapped_column(BigInteger)
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("(number IS NULL) = (balance_after IS NULL)", name="placed_or_not"),
        Index(
            "ix_entries_statement", "account_id", "at", "number", unique=True,
            postgresql_where=text("number IS NOT NULL"),
        ),
        {"schema": SCHEMA},
    )  # fmt: skip


class AdjustmentRow(Base):
    """Money given or taken by hand. Who decides is never who asked."""

    __tablename__ = "adjustments"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str]
    state: Mapped[AdjustmentState] = mapped_column(String(8))
    requested_by: Mapped[UUID]
    requested_at: Mapped[datetime] = mapped_column(Moment)
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None] = mapped_column(Moment)
    decision: Mapped[str | None]
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey(TransferRow.id))

    __table_args__ = (
        CheckConstraint("amount <> 0", name="moves_something"),
        CheckConstraint("state IN ('waiting', 'applied', 'rejected')", name="known_state"),
        CheckConstraint("decided_by <> requested_by", name="by_four_eyes"),
        CheckConstraint("(state = 'waiting') = (decided_at IS NULL)", name="decided_at_some_time"),
        CheckConstraint("(state = 'applied') = (transfer_id IS NOT NULL)", name="applied_by_transfer"),
        Index(None, "tenant_id", "requested_at", "id"),
        Index(None, "user_id", "requested_at", "id"),
        {"schema": SCHEMA},
    )
