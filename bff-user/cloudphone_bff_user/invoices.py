"""An invoice, or a credit note, as its customer knows it."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.invoice import (
    BillTo,
    InvoiceKind,
    InvoiceLine,
    InvoiceState,
    InvoiceSummary,
    LineCharges,
    TaxTotal,
)


class MyInvoiceSummary(Contract, frozen=True, kw_only=True):
    """Amounts in minor units; `due` = `total` - `paid` - `credited`."""

    id: UUID
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

    @staticmethod
    def of(invoice: InvoiceSummary) -> "MyInvoiceSummary":
        return msgspec.convert(invoice, MyInvoiceSummary, from_attributes=True)


class MyInvoice(MyInvoiceSummary, frozen=True, kw_only=True):
    """`user_id` is the caller. `corrects` is the invoice of a credit note."""

    user_id: UUID
    bill_to: BillTo
    lines: list[InvoiceLine]
    taxes: list[TaxTotal]
    corrects: UUID | None

    @staticmethod
    def of(invoice: InvoiceSummary) -> "MyInvoice":
        return msgspec.convert(invoice, MyInvoice, from_attributes=True)


class MyCharge(Contract, frozen=True, kw_only=True):
    """What a part of a device's run costs: `amount` exact, in minor units. `included`: within the plan's hours."""

    device_id: UUID
    started_at: datetime
    stopped_at: datetime
    seconds: int
    rate: Decimal
    amount: Decimal
    included: bool
    description: str


class MyLineCharges(Contract, frozen=True, kw_only=True):
    """In time order; their `exact` sum, rounded half-even, is the line's `amount`."""

    invoice_id: UUID
    number: int
    exact: Decimal
    amount: int
    charges: list[MyCharge]
    next_cursor: str | None = None

    @staticmethod
    def of(line: LineCharges) -> "MyLineCharges":
        return msgspec.convert(line, MyLineCharges, from_attributes=True)
