"""What can happen to an order: facts, each with a type and a version, as `order_events` keeps them.

A fact that was written stays as it was. What its type says today is read from any of its versions by the upcasters,
each of which brings the data of one version to the next.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from cloudphone_shared.contracts.billing import OrderKind
from cloudphone_shared.contracts.purchase import PaymentMethod

Data = dict[str, Any]


class Fact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`version` is the present one: what is written from now on."""

    type: ClassVar[str]
    version: ClassVar[int] = 1


class Placed(Fact, frozen=True, kw_only=True):
    """At a plan's version and its price; `credit` is what a change to a cheaper plan gives back."""

    type: ClassVar[str] = "placed"
    version: ClassVar[int] = 2
    tenant_id: UUID
    user_id: UUID
    plan_id: UUID
    plan_revision: int
    plan_name: str
    kind: OrderKind
    parent_id: UUID | None
    list_price: int
    discount: int
    tax: int
    amount: int
    credit: int
    currency: str
    coupon_code: str | None
    payment_method: PaymentMethod
    payment_id: UUID | None
    saga_id: UUID | None
    auto_renew: bool
    device_id: UUID | None


class ProvisioningBegun(Fact, frozen=True, kw_only=True):
    """`device_id` where the step named one, as steps by hand did."""

    type: ClassVar[str] = "provisioning-begun"
    device_id: UUID | None = None


class DeviceBound(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "device-bound"
    device_id: UUID


class Paid(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "paid"


class Completed(Fact, frozen=True, kw_only=True):
    """What it gave lasts until `period_end`; None where nothing was noted."""

    type: ClassVar[str] = "completed"
    period_end: datetime | None = None


class UndoingBegun(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "undoing-begun"


class Cancelled(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "cancelled"


class Expired(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "expired"


class Failed(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "failed"


class RefundBegun(Fact, frozen=True, kw_only=True):
    """All that is left of it is asked back; `amount` 0 where nothing was noted."""

    type: ClassVar[str] = "refund-begun"
    refund_id: UUID | None = None
    amount: int = 0


class Refunded(Fact, frozen=True, kw_only=True):
    type: ClassVar[str] = "refunded"
    refund_id: UUID | None = None
    amount: int


class PartlyRefunded(Fact, frozen=True, kw_only=True):
    """The order goes on."""

    type: ClassVar[str] = "partly-refunded"
    refund_id: UUID
    amount: int


class Credited(Fact, frozen=True, kw_only=True):
    """A change of plan, the order `by`, gave `amount` of what was paid here back."""

    type: ClassVar[str] = "credited"
    by: UUID
    amount: int


FACTS: Mapping[str, type[Fact]] = {
    fact.type: fact
    for fact in (
        Placed, ProvisioningBegun, DeviceBound, Paid, Completed, UndoingBegun, Cancelled, Expired, Failed,
        RefundBegun, Refunded, PartlyRefunded, Credited,
    )
}  # fmt: skip


def _placed_1(data: Data) -> Data:
    """Before plans had revisions an order had one price, one way to pay, and nothing was renewed."""
    return {
        "planRevision": 1, "planName": "", "kind": "purchase", "parentId": None, "listPrice": data["amount"],
        "discount": 0, "tax": 0, "credit": 0, "couponCode": None, "paymentMethod": "wallet", "paymentId": None,
        "sagaId": None, "autoRenew": False, **data,
    }  # fmt: skip


UPCASTERS: Mapping[tuple[str, int], Callable[[Data], Data]] = {(Placed.type, 1): _placed_1}
"""By type and version: what that version's data is in the next."""


def read(kind: str, version: int, data: Data) -> Fact:
    """Raises ValueError for a type or version that is not known, or data that is not what they say."""
    fact = FACTS.get(kind)
    if fact is None or version > fact.version:
        raise ValueError(f"No order has a fact {kind} in version {version}")
    for older in range(version, fact.version):
        data = UPCASTERS[kind, older](data)
    return msgspec.convert(data, fact, strict=False)


def written(fact: Fact) -> Data:
    return msgspec.to_builtins(fact)
