"""What is sold and on which terms, in the demo: rules, tax rates, coupons, and the subscriptions that orders began."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind

from .invoices.models import BillToRow, TaxRateRow
from .orders.models import SubscriptionRow, SubscriptionTermRow
from .plans.models import CouponRow
from .rating.models import RuleRow, RuleVersionRow


class SeedRule(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody's, in its first version since `created_at`."""

    id: UUID
    name: str
    kind: RuleKind
    definition: RuleDefinition
    created_at: datetime
    currency: str = "USD"


class SeedTaxRate(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    country: str
    name: str
    percent: Decimal
    valid_from: date
    created_at: datetime


class SeedBillTo(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: UUID
    user_id: UUID
    name: str
    country: str
    set_at: datetime


class SeedCoupon(msgspec.Struct, frozen=True, kw_only=True):
    """Takes `percent` off any plan, once per user, without an end."""

    id: UUID
    code: str
    percent: int
    created_at: datetime


class SeedSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Of a completed purchase: its first period, at the plan's first version."""

    id: UUID
    order_id: UUID
    tenant_id: UUID
    user_id: UUID
    device_id: UUID
    plan_id: UUID
    price: int
    period_days: int
    begun_at: datetime


class Sales(msgspec.Struct, frozen=True, kw_only=True):
    rules: Sequence[SeedRule] = ()
    tax_rates: Sequence[SeedTaxRate] = ()
    bill_tos: Sequence[SeedBillTo] = ()
    coupons: Sequence[SeedCoupon] = ()
    subscriptions: Sequence[SeedSubscription] = ()


Rows = list[tuple[type[Any], list[dict[str, Any]]]]


def terms(sales: Sales) -> Rows:
    """What orders rest on."""
    return [
        (RuleRow, [_rule(rule) for rule in sales.rules]),
        (RuleVersionRow, [_rule_version(rule) for rule in sales.rules]),
        (TaxRateRow, [msgspec.structs.asdict(rate) for rate in sales.tax_rates]),
        (BillToRow, [msgspec.structs.asdict(bill_to) for bill_to in sales.bill_tos]),
        (CouponRow, [_coupon(coupon) for coupon in sales.coupons]),
    ]


def begun(sales: Sales) -> Rows:
    """What orders began."""
    return [
        (SubscriptionRow, [_subscription(each) for each in sales.subscriptions]),
        (SubscriptionTermRow, [_term(each) for each in sales.subscriptions]),
    ]


def touched(sales: Sales) -> Iterable[str]:
    yield from (entities.rules(), entities.coupons())
    yield from (entities.rule(rule.id) for rule in sales.rules)


def _rule(rule: SeedRule) -> dict[str, Any]:
    fields = {name: value for name, value in msgspec.structs.asdict(rule).items() if name != "definition"}
    return {**fields, "tenant_id": None, "active": True}


def _rule_version(rule: SeedRule) -> dict[str, Any]:
    return {
        "rule_id": rule.id,
        "revision": 1,
        "definition": msgspec.to_builtins(rule.definition),
        "valid_from": rule.created_at,
        "actor": "seed",
        "created_at": rule.created_at,
    }


def _coupon(coupon: SeedCoupon) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(coupon),
        "amount": None,
        "currency": None,
        "plan_id": None,
        "valid_from": coupon.created_at,
        "valid_until": None,
        "most_uses": None,
        "uses_per_user": 1,
        "uses": 0,
        "active": True,
    }


def _subscription(each: SeedSubscription) -> dict[str, Any]:
    return {
        "id": each.id,
        "order_id": each.order_id,
        "tenant_id": each.tenant_id,
        "user_id": each.user_id,
        "device_id": each.device_id,
        "plan_id": each.plan_id,
        "plan_revision": 1,
        "state": "active",
        "period_start": each.begun_at,
        "period_end": _end(each),
        "paid_by": each.order_id,
        "worth": each.price,
        "auto_renew": False,
        "grace_until": None,
        "try_at": None,
        "ended_at": None,
        "end_reason": None,
        "created_at": each.begun_at,
    }


def _term(each: SeedSubscription) -> dict[str, Any]:
    return {
        "subscription_id": each.id,
        "number": 1,
        "order_id": each.order_id,
        "plan_id": each.plan_id,
        "plan_revision": 1,
        "starts_at": each.begun_at,
        "ends_at": _end(each),
    }


def _end(each: SeedSubscription) -> datetime:
    return each.begun_at + timedelta(days=each.period_days)
