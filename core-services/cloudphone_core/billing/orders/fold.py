"""An order's row as the fold of its facts."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts.billing import OrderKind, OrderState
from cloudphone_shared.contracts.purchase import PaymentMethod

from ..states import check_step
from . import facts
from .facts import Fact

STATES: Mapping[type[Fact], OrderState] = {
    facts.Placed: "pending",
    facts.ProvisioningBegun: "provisioning",
    facts.Paid: "paid",
    facts.Completed: "completed",
    facts.UndoingBegun: "compensating",
    facts.Cancelled: "cancelled",
    facts.Expired: "expired",
    facts.Failed: "failed",
    facts.RefundBegun: "refunding",
    facts.Refunded: "refunded",
}
"""What an order is after a fact; one that is not here leaves it as it was."""


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of an order's row that follow from its facts alone."""

    tenant_id: UUID
    user_id: UUID
    device_id: UUID | None
    plan_id: UUID
    plan_revision: int
    kind: OrderKind
    parent_id: UUID | None
    list_price: int
    discount: int
    tax: int
    amount: int
    credit: int
    refunded: int
    currency: str
    coupon_code: str | None
    payment_method: PaymentMethod
    payment_id: UUID | None
    saga_id: UUID | None
    auto_renew: bool
    state: OrderState
    last_number: int
    created_at: datetime
    updated_at: datetime


class Happened(msgspec.Struct, frozen=True):
    fact: Fact
    at: datetime


def step(order: Folded | None, fact: Fact, at: datetime) -> Folded:
    """The order after one more fact. Raises StateConflict for a step that its table does not have."""
    if order is None:
        if not isinstance(fact, facts.Placed):
            raise ValueError(f"An order begins by being placed, not with {fact.type}")
        return _placed(fact, at)
    if (state := STATES.get(type(fact), order.state)) != order.state:
        check_step(order.state, state)
    after = msgspec.structs.replace(order, state=state, last_number=order.last_number + 1, updated_at=at)
    match fact:
        case facts.DeviceBound(device_id=device_id) | facts.ProvisioningBegun(device_id=UUID() as device_id):
            return msgspec.structs.replace(after, device_id=device_id)
        case facts.Refunded(amount=amount) | facts.PartlyRefunded(amount=amount) | facts.Credited(amount=amount):
            return msgspec.structs.replace(after, refunded=after.refunded + amount)
        case _:
            return after


def fold(history: Iterable[Happened]) -> Folded:
    """Raises ValueError for a history that does not begin with the order."""
    order: Folded | None = None
    for one in history:
        order = step(order, one.fact, one.at)
    if order is None:
        raise ValueError("Nothing happened: there is no order")
    return order


def _placed(fact: facts.Placed, at: datetime) -> Folded:
    told = {name: value for name, value in msgspec.structs.asdict(fact).items() if name != "plan_name"}
    return Folded(**told, refunded=0, state="pending", last_number=1, created_at=at, updated_at=at)
