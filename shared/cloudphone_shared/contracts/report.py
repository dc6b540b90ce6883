"""Figures for charts, per day or month (UTC), with their sums. Amounts in minor units, one report a currency."""

from datetime import date
from uuid import UUID

from .common import Contract


class RevenuePoint(Contract, frozen=True, kw_only=True):
    """`net` without `tax`; `refunds` are taken off both already."""

    period: date
    net: int
    tax: int
    purchases: int
    renewals: int
    usage: int
    refunds: int


class RevenueOfPlan(Contract, frozen=True, kw_only=True):
    plan_id: UUID
    plan_name: str
    orders: int
    amount: int


class RevenueReport(Contract, frozen=True, kw_only=True):
    currency: str
    since: date
    until: date
    points: list[RevenuePoint]
    by_plan: list[RevenueOfPlan]
    net: int
    tax: int
    refunds: int
    currencies: list[str]


class UsagePoint(Contract, frozen=True, kw_only=True):
    period: date
    seconds: int
    runs: int
    devices: int
    users: int
    amount: int


class UsageReport(Contract, frozen=True, kw_only=True):
    """`amount` is what was rated, in `currency`, rounded per period."""

    currency: str
    since: date
    until: date
    points: list[UsagePoint]
    seconds: int
    runs: int
    amount: int
