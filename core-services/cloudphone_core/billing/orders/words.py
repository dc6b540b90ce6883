"""An order's history in words."""

from decimal import Decimal

from . import facts
from .facts import Fact

_DECIMALS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "KWD": 3, "OMR": 3, "TND": 3, "JOD": 3}
"""Currencies whose smallest unit is not a hundredth (ISO 4217)."""


def money(amount: int, currency: str) -> str:
    """Such as `19.99 USD`."""
    return f"{decimal_of(amount, currency)} {currency}"


def decimal_of(amount: int, currency: str) -> str:
    """Such as `19.99`."""
    decimals = _DECIMALS.get(currency, 2)
    return f"{Decimal(amount).scaleb(-decimals):.{decimals}f}"


def says(fact: Fact, *, reason: str, plan_name: str, currency: str) -> str:
    """One sentence. `plan_name` is for a fact from before plans' names were noted; `currency` the order's."""
    match fact:
        case facts.Placed():
            return _placed(fact, fact.plan_name or plan_name)
        case facts.ProvisioningBegun():
            return "We began to prepare it."
        case facts.DeviceBound():
            return "A device was found for it."
        case facts.Paid():
            return "It was paid."
        case facts.Completed(period_end=None):
            return "It is complete."
        case facts.Completed(period_end=end):
            return f"It is complete and lasts until {end:%d %B %Y, %H:%M} UTC."
        case facts.UndoingBegun():
            return f"It is being undone: {reason}."
        case facts.Cancelled():
            return f"It was cancelled: {reason}."
        case facts.Expired():
            return f"It expired: {reason}."
        case facts.Failed():
            return f"It failed and nothing was charged: {reason}."
        case facts.RefundBegun(amount=amount):
            return f"A refund of {money(amount, currency)} was begun: {reason}."
        case facts.Refunded(amount=amount):
            return f"{money(amount, currency)} went back, and the order ended."
        case facts.PartlyRefunded(amount=amount):
            return f"{money(amount, currency)} of it went back: {reason}."
        case facts.Credited(amount=amount):
            return f"{money(amount, currency)} of it came back with the change of plan."
        case _:
            return reason


def _placed(fact: facts.Placed, plan: str) -> str:
    price = money(fact.amount, fact.currency)
    off = f", {money(fact.discount, fact.currency)} off with {fact.coupon_code}" if fact.coupon_code else ""
    match fact.kind:
        case "renewal":
            return f"{plan} was renewed for {price}{off}."
        case "plan-change" if fact.credit:
            return f"The plan was changed to {plan}; {money(fact.credit, fact.currency)} came back."
        case "plan-change":
            return f"The plan was changed to {plan} for {price}."
        case _:
            return f"{plan} was ordered for {price}{off}."
