"""Many orders and runs at once, as if they had long been there: nothing is announced, every entity has a version."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.database import Database, bump, copy_rows

from .models import BalanceRow, CopyRow, OrderEventRow, OrderRow, PlanRow, UsageRow


class SeedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`price` in minor units per `period_days` days; `included_hours` of running time per period."""

    id: UUID
    name: str
    price: int
    created_at: datetime
    currency: str = "USD"
    period_days: int = 30
    included_hours: int = 0
    active: bool = True


class SeedName(msgspec.Struct, frozen=True, kw_only=True):
    """A user (with an e-mail address) or a device, at the `version` that its owner gives it."""

    id: UUID
    name: str
    version: int
    email: str | None = None


class SeedStep(msgspec.Struct, frozen=True, kw_only=True):
    state: OrderState
    at: datetime
    reason: str = "demo data"


class SeedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """At the plan's price. `steps` begin with pending and follow the order's table; the last one is its state."""

    id: UUID
    tenant_id: UUID
    user: SeedName
    plan: SeedPlan
    steps: Sequence[SeedStep]
    device: SeedName | None = None


class SeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a device never overlap; `stopped_at` None while it runs. Ids are the caller's, for a repeatable seed."""

    id: UUID
    run_id: UUID
    tenant_id: UUID
    device_id: UUID
    user_id: UUID
    started_at: datetime
    stopped_at: datetime | None = None


class SeedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """`available` and `held` in minor units."""

    user_id: UUID
    tenant_id: UUID
    available: int
    updated_at: datetime
    held: int = 0
    currency: str = "USD"


async def seed(
    database: Database,
    *,
    plans: Sequence[SeedPlan],
    orders: Sequence[SeedOrder],
    runs: Sequence[SeedRun],
    balances: Sequence[SeedBalance],
) -> None:
    """In one transaction, into a schema that has none of them yet."""
    rows: list[tuple[type[Any], list[dict[str, Any]]]] = [
        (PlanRow, [msgspec.structs.asdict(plan) for plan in plans]),
        (CopyRow, list(_copies(orders))),
        (OrderRow, [_order(order) for order in orders]),
        (OrderEventRow, [event for order in orders for event in _events(order)]),
        (UsageRow, [_run(run) for run in runs]),
        (BalanceRow, [msgspec.structs.asdict(balance) for balance in balances]),
    ]
    async with database.writing() as session:
        for table, values in rows:
            await copy_rows(session, table, values)
        await bump(session, *_entities(plans, orders, runs, balances))


def _run(run: SeedRun) -> dict[str, Any]:
    by = "event" if run.stopped_at else None
    return {**msgspec.structs.asdict(run), "closed_by": by, "told_stopped_at": run.stopped_at, "told_by": by}


def _order(order: SeedOrder) -> dict[str, Any]:
    device = order.device
    return {
        "id": order.id,
        "tenant_id": order.tenant_id,
        "user_id": order.user.id,
        "user_name": order.user.name,
        "user_email": order.user.email,
        "user_version": order.user.version,
        "device_id": device.id if device else None,
        "device_name": device.name if device else None,
        "device_version": device.version if device else 0,
        "plan_id": order.plan.id,
        "amount": order.plan.price,
        "currency": order.plan.currency,
        "state": order.steps[-1].state,
        "created_at": order.steps[0].at,
        "updated_at": order.steps[-1].at,
    }


def _events(order: SeedOrder) -> Iterable[dict[str, Any]]:
    for number, step in enumerate(order.steps, 1):
        yield {
            "order_id": order.id,
            "number": number,
            "state": step.state,
            "device_id": order.device.id if order.device and number == 1 else None,
            "reason": step.reason,
            "actor": "seed",
            "at": step.at,
        }


def _copies(orders: Iterable[SeedOrder]) -> Iterable[dict[str, Any]]:
    named = {entities.user(order.user.id): order.user for order in orders}
    named |= {entities.device(order.device.id): order.device for order in orders if order.device}
    for entity, known in named.items():
        yield {"entity": entity, "version": known.version, "name": known.name, "email": known.email}


def _entities(
    plans: Sequence[SeedPlan], orders: Sequence[SeedOrder], runs: Sequence[SeedRun], balances: Sequence[SeedBalance]
) -> set[str]:
    return {
        entities.plans(),
        *(entities.plan(plan.id) for plan in plans),
        *(entities.order(order.id) for order in orders),
        *(entities.orders_of(order.user.id) for order in orders),
        *(entities.usage(run.device_id) for run in runs),
        *(entities.usage_of(run.user_id) for run in runs),
        *(entities.balance(balance.user_id) for balance in balances),
    }
