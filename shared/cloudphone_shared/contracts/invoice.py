"""Invoices and credit notes. Amounts in minor units, taxes contained: a line's `amount` is what is paid for it."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Name, Request
from .rating import Charge

InvoiceState = Literal["open", "paid", "overdue", "credited"]
InvoiceKind = Literal["invoice", "credit-note"]
LineKind = Literal["plan", "usage", "adjustment", "discount", "credit"]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$")]


class BillTo(Contract, frozen=True, kw_only=True):
    name: str
    email: str | None
    address: str | None
    country: str | None
    tax_number: str | None


class BillToSet(Request, frozen=True, kw_only=True):
    name: Name
    address: Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")] | None = None
    country: Country | None = None
    tax_number: Annotated[str, Meta(max_length=40, pattern=r"^[A-Za-z0-9 .-]*$")] | None = None


class InvoiceLine(Contract, frozen=True, kw_only=True):
    """`amount` contains `tax` at `tax_percent`; `quantity` in `unit`. Drilled down to its charges by its `number`."""

    number: int
    kind: LineKind
    description: str
    device_id: UUID | None
    order_id: UUID | None
    quantity: Decimal
    unit: str
    amount: int
    tax_percent: Decimal
    tax: int


class TaxTotal(Contract, frozen=True, kw_only=True):
    name: str
    percent: Decimal
    net: int
    tax: int


class InvoiceSummary(Contract, frozen=True, kw_only=True):
    """`number` counts without gaps within the tenant and year. `total` = lines; `due` = `total` - `paid` - `credited`.

    A credit note's amounts are negative, and nothing is due on it. So are an invoice's whose corrections of usage
    outweigh it: what it comes to went to the wallet. Invoices and notes together are what was charged.
    """

    id: UUID
    tenant_id: UUID
    user_id: UUID
    kind: InvoiceKind
    number: str
    state: InvoiceState
    currency: str
    total: int
    tax: int
    paid: int
    credited: int
    due: int
    period_start: datetime
    period_end: datetime
    issued_at: datetime
    due_at: datetime


class Invoice(InvoiceSummary, frozen=True, kw_only=True):
    """`corrects` is the invoice of a credit note."""

    bill_to: BillTo
    lines: list[InvoiceLine]
    taxes: list[TaxTotal]
    corrects: UUID | None
    version: int


class InvoicePreview(Contract, frozen=True, kw_only=True):
    """What an invoice issued now would say. `paid`: what orders on it took already."""

    currency: str
    period_start: datetime
    period_end: datetime
    total: int
    tax: int
    paid: int
    due: int
    lines: list[InvoiceLine]


class LineCharges(Contract, frozen=True, kw_only=True):
    """A line's charges, in time order; their exact sum, rounded half-even, is the line's amount."""

    invoice_id: UUID
    number: int
    exact: Decimal
    amount: int
    charges: list[Charge]
    next_cursor: str | None = None


class RunTold(Contract, frozen=True, kw_only=True):
    """One thing that was told of a run: the event and when it came, or what it changed afterwards."""

    event_id: UUID | None
    what: str
    at: datetime
    heard_at: datetime


class RunHistory(Contract, frozen=True, kw_only=True):
    """A run from its interval down to the events it rests on."""

    run_id: UUID
    device_id: UUID
    user_id: UUID | None
    started_at: datetime
    stopped_at: datetime | None
    closed_by: str | None
    told: list[RunTold]
    charges: list[Charge]


class InvoiceIssue(Request, frozen=True, kw_only=True):
    """What was not invoiced before, until now or `until`; the monthly run does the same for everybody."""

    user_id: UUID
    until: Annotated[datetime, Meta(tz=True)] | None = None


class CreditLine(Request, frozen=True, kw_only=True):
    """`number` of the invoice's line; `amount` at most what is left of it."""

    number: Annotated[int, Meta(ge=1)]
    amount: Annotated[int, Meta(ge=1, le=10**15)]


class CreditNoteCreate(Request, frozen=True, kw_only=True):
    """No `lines`: all that is left of the invoice's usage. What was paid goes back to the wallet. An order's line is
    refunded through its order, and credited by itself then."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
    lines: list[CreditLine] = []


class TaxRate(Contract, frozen=True, kw_only=True):
    """In force from `valid_from` until the next one of the country."""

    id: UUID
    country: str
    name: str
    percent: Decimal
    valid_from: date
    created_at: datetime


class TaxRateCreate(Request, frozen=True, kw_only=True):
    """`percent` from 0 to 100, at most three decimal places."""

    country: Country
    name: Name
    percent: Decimal
    valid_from: date


class InvoiceTerms(Contract, frozen=True, kw_only=True):
    """A tenant's: days to pay, days after which what is unpaid freezes devices, and what stands on the invoice."""

    days_to_pay: int
    days_to_freeze: int
    seller: str
    seller_tax_number: str | None
    seller_country: str | None


class InvoiceTermsSet(Request, frozen=True, kw_only=True):
    days_to_pay: Annotated[int, Meta(ge=0, le=365)] = 14
    days_to_freeze: Annotated[int, Meta(ge=0, le=365)] = 7
    seller: Name | UnsetType = UNSET
    seller_tax_number: Annotated[str, Meta(max_length=40, pattern=r"^[A-Za-z0-9 .-]*$")] | None | UnsetType = UNSET
    seller_country: Country | None | UnsetType = UNSET
