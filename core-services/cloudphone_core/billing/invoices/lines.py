"""What stands on an invoice: a pure function of what was bought, given back and used."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from cloudphone_shared.contracts.invoice import InvoiceLine, LineKind, TaxTotal

from .taxes import tax_in, to_minor_units

ONE = Decimal(1)
_HOUR = Decimal(3600)
_SHOWN_HOURS = Decimal("0.0001")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` contains `tax`; `corrects_line` is the number of the line that a credit note's line takes back."""

    kind: LineKind
    description: str
    amount: int
    tax_percent: Decimal
    tax: int
    quantity: Decimal = ONE
    unit: str = "1"
    device_id: UUID | None = None
    order_id: UUID | None = None
    refund_id: UUID | None = None
    rule_id: UUID | None = None
    corrects_line: int | None = None


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """A refund that went through; `tax` of `amount` went back with it."""

    refund_id: UUID
    order_id: UUID
    amount: int
    tax: int
    reason: str
    at: datetime


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """An order whose money was taken: `list_price` - `discount` contains `tax` at `tax_percent`. `credit` is what a
    change to a cheaper plan gave back at once."""

    order_id: UUID
    device_id: UUID | None
    currency: str
    description: str
    discounted_by: str
    list_price: int
    discount: int
    tax_percent: Decimal
    tax: int
    at: datetime
    credit: int = 0
    given_back: Sequence[GivenBack] = ()


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """The charges of one device by one rule: `worth` is the sum of theirs, `charge_ids` which they are. `corrects`: of
    what was invoiced before."""

    device_id: UUID
    rule_id: UUID | None
    currency: str
    description: str
    seconds: int
    worth: Decimal
    corrects: bool
    first: datetime
    charge_ids: Sequence[int] = ()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice in one currency before it is issued. `paid`: what its orders took already, less what went back;
    `charge_ids`: of each of its lines."""

    currency: str
    lines: list[Line]
    charge_ids: list[Sequence[int]]
    paid: int
    first: datetime

    @property
    def total(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def tax(self) -> int:
        return sum(line.tax for line in self.lines)

    @property
    def usage(self) -> tuple[int, int]:
        """Amount and tax of what is not yet in the ledger: all but the orders' lines."""
        unpaid = [line for line in self.lines if line.order_id is None]
        return sum(line.amount for line in unpaid), sum(line.tax for line in unpaid)


def drafts(bought: Iterable[Bought], used: Iterable[Used], usage_percent: Decimal) -> list[Draft]:
    """One per currency, in the currencies' order; lines of orders first, then by device."""
    by_currency: dict[str, tuple[list[Bought], list[Used]]] = {}
    for order in bought:
        by_currency.setdefault(order.currency, ([], []))[0].append(order)
    for use in used:
        by_currency.setdefault(use.currency, ([], []))[1].append(use)
    return [draft(currency, *by_currency[currency], usage_percent) for currency in sorted(by_currency)]


def draft(currency: str, bought: Sequence[Bought], used: Sequence[Used], usage_percent: Decimal) -> Draft:
    orders = sorted(bought, key=lambda order: (order.at, order.order_id))
    uses = sorted(used, key=lambda use: (use.corrects, use.description, use.device_id, str(use.rule_id)))
    of_orders = [line for order in orders for line in lines_of_order(order)]
    return Draft(
        currency=currency,
        lines=[*of_orders, *(line_of_usage(use, usage_percent) for use in uses)],
        charge_ids=[*(() for _ in of_orders), *(use.charge_ids for use in uses)],
        paid=sum(line.amount for line in of_orders),
        first=min([*(order.at for order in orders), *(use.first for use in uses)]),
    )


def lines_of_order(order: Bought) -> list[Line]:
    """Their taxes add up to what was taken: the discount's is the difference that it makes."""
    listed = tax_in(order.list_price, order.tax_percent)
    plan = Line(
        kind="plan",
        description=order.description,
        amount=order.list_price,
        tax_percent=order.tax_percent,
        tax=listed if order.discount else order.tax,
        device_id=order.device_id,
        order_id=order.order_id,
    )
    lines = [plan]
    if order.discount:
        lines.append(
            msgspec.structs.replace(
                plan,
                kind="discount",
                description=order.discounted_by,
                amount=-order.discount,
                tax=order.tax - listed,
            )
        )
    if order.credit:
        lines.append(
            msgspec.structs.replace(
                plan,
                kind="credit",
                description="The rest of the former plan's period",
                amount=-order.credit,
                tax=tax_in(-order.credit, order.tax_percent),
            )
        )
    return [*lines, *(line_given_back(each, order.tax_percent, order.device_id) for each in order.given_back)]


def line_given_back(
    refund: GivenBack, percent: Decimal, device_id: UUID | None, *, corrects_line: int | None = None
) -> Line:
    return Line(
        kind="credit",
        description=f"Refund: {refund.reason}",
        amount=-refund.amount,
        tax_percent=percent,
        tax=-refund.tax,
        device_id=device_id,
        order_id=refund.order_id,
        refund_id=refund.refund_id,
        corrects_line=corrects_line,
    )


def line_of_usage(use: Used, percent: Decimal) -> Line:
    """The exact sum is rounded here, once."""
    amount = to_minor_units(use.worth)
    return Line(
        kind="adjustment" if use.corrects else "usage",
        description=use.description,
        amount=amount,
        tax_percent=percent,
        tax=tax_in(amount, percent),
        quantity=(use.seconds / _HOUR).quantize(_SHOWN_HOURS),
        unit="h",
        device_id=use.device_id,
        rule_id=use.rule_id,
    )


def tax_totals(lines: Iterable[Line | InvoiceLine], names: dict[Decimal, str]) -> list[TaxTotal]:
    """Per percentage, lowest first; `names` as they are known, else the percentage alone."""
    sums: dict[Decimal, tuple[int, int]] = {}
    for line in lines:
        net, tax = sums.get(line.tax_percent, (0, 0))
        sums[line.tax_percent] = net + line.amount - line.tax, tax + line.tax
    return [
        TaxTotal(name=names.get(percent, "Tax" if percent else "No tax"), percent=percent, net=net, tax=tax)
        for percent, (net, tax) in sorted(sums.items())
    ]
