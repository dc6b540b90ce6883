"""Accounts, transfers and what follows from them. Amounts are signed minor units: an account's credits raise it.

A customer's wallet is what we owe the customer, so money in it is positive; what the card provider owes us stands on
`clearing` as a negative figure. All accounts of a tenant and currency add up to zero.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from .common import Contract, Currency, Request

AccountKind = Literal["wallet", "receivable", "revenue", "tax", "clearing", "goodwill", "losses", "opening"]
"""`wallet` and `receivable` belong to a user; the others to the tenant: `clearing` is money at the card provider,
`goodwill` what was given or taken by hand, `losses` disputes that were lost, `opening` what stood before the ledger."""
TransferState = Literal["pending", "posted", "voided", "expired"]
TransferKind = Literal[
    "purchase", "renewal", "plan-change", "recharge", "refund", "chargeback", "adjustment", "invoice", "settlement",
    "credit-note", "opening",
]  # fmt: skip
AdjustmentState = Literal["waiting", "applied", "rejected"]
SignedAmount = Annotated[int, Meta(ge=-(10**15), le=10**15)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class Entry(Contract, frozen=True, kw_only=True):
    """`balance_after`: the posted balance of a user's account once this was posted; None while the transfer is pending,
    and for the tenant's accounts, which are added up when somebody asks."""

    account_id: UUID
    kind: AccountKind
    owner_id: UUID | None
    amount: int
    balance_after: int | None


class Transfer(Contract, frozen=True, kw_only=True):
    """Entries add up to zero. `reference` names what it is for, such as `order:<id>`."""

    id: UUID
    tenant_id: UUID
    kind: TransferKind
    state: TransferState
    currency: str
    reason: str
    reference: str | None
    actor: str
    created_at: datetime
    settled_at: datetime | None
    expires_at: datetime | None
    entries: list[Entry]


class Transaction(Contract, frozen=True, kw_only=True):
    """A line of a wallet's statement: `amount` signed, `balance_after` what was there after it. A pending one has
    none."""

    transfer_id: UUID
    kind: TransferKind
    state: TransferState
    amount: int
    currency: str
    balance_after: int | None
    reason: str
    reference: str | None
    at: datetime


class Statement(Contract, frozen=True, kw_only=True):
    """A wallet from `since` until before `until` (UTC dates): `opening_balance` + credits - debits =
    `closing_balance`. `next_cursor` for its further lines."""

    user_id: UUID
    currency: str
    since: date
    until: date
    opening_balance: int
    credits: int
    debits: int
    closing_balance: int
    lines: list[Transaction]
    next_cursor: str | None = None


class TrialLine(Contract, frozen=True, kw_only=True):
    tenant_id: UUID
    kind: AccountKind
    currency: str
    accounts: int
    debits: int
    credits: int
    balance: int


class TrialBalance(Contract, frozen=True, kw_only=True):
    """Posted entries until before `until`. `balanced` when each tenant's currency adds up to zero."""

    until: datetime
    balanced: bool
    lines: list[TrialLine]


class AdjustmentCreate(Request, frozen=True, kw_only=True):
    """By hand, with a reason: `amount` is given (positive) or taken (negative). Above the limit a second person
    decides."""

    amount: SignedAmount
    currency: Currency
    reason: Reason


class AdjustmentDecision(Request, frozen=True, kw_only=True):
    reason: Reason = "decided"


class Adjustment(Contract, frozen=True, kw_only=True):
    """`waiting` until somebody else than who asked for it approves or rejects it."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    amount: int
    currency: str
    reason: str
    state: AdjustmentState
    requested_by: UUID
    requested_at: datetime
    decided_by: UUID | None
    decided_at: datetime | None
    decision: str | None
    transfer_id: UUID | None
