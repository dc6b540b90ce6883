"""Which events a customer is told of, what of them is shown, and to whom."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared.events import Envelope


class Shown(msgspec.Struct, frozen=True):
    """`fields` of the event's data are shown to the users that its fields `to` name, and, if `shared`, to those who
    hold a grant of its device. `owned`: where it names no user, the device's owner is meant."""

    fields: tuple[str, ...]
    to: tuple[str, ...] = ("userId",)
    shared: bool = False
    owned: bool = False


SHOWN: Mapping[str, Shown] = {
    "device.status.changed": Shown(("deviceId", "oldStatus", "newStatus", "reason"), shared=True),
    "device.updated": Shown(("deviceId", "name", "changed"), ("userId", "previousUserId")),
    "device.started": Shown(("deviceId", "startedAt"), shared=True),
    "device.stopped": Shown(("deviceId", "startedAt", "stoppedAt", "reason"), shared=True),
    "device.operation.changed": Shown(("operationId", "deviceId", "kind", "state", "progress"), shared=True),
    "device.shared": Shown(("grantId", "deviceId", "until"), ("ownerId", "userId")),
    "snapshot.ready": Shown(("snapshotId", "deviceId", "size")),
    "snapshot.failed": Shown(("snapshotId", "deviceId", "reason")),
    "app.installation.changed": Shown(
        ("installationId", "deviceId", "appId", "oldState", "newState", "progress"), shared=True, owned=True
    ),
    "order.created": Shown(("orderId", "amount", "currency")),
    "order.state.changed": Shown(("orderId", "oldState", "newState", "reason")),
    "order.device.bound": Shown(("orderId", "deviceId")),
    "subscription.changed": Shown(("subscriptionId", "orderId", "state", "reason", "periodEnd")),
    "payment.completed": Shown(("paymentId", "purpose", "orderId", "method", "amount", "currency")),
    "payment.changed": Shown(("paymentId", "orderId", "oldState", "newState", "reason")),
    "refund.changed": Shown(("refundId", "paymentId", "orderId", "amount", "currency", "state")),
    "invoice.issued": Shown(("invoiceId", "number", "kind", "total", "due", "currency", "dueAt")),
    "invoice.state.changed": Shown(("invoiceId", "number", "oldState", "newState", "due")),
    "budget.reached": Shown(("percent", "spent", "amount", "currency")),
    "usage.recorded": Shown(("deviceId", "startedAt", "stoppedAt")),
    "balance.changed": Shown(("currency", "available", "held")),
    "balance.low": Shown(("available", "threshold", "currency")),
    "arrears.began": Shown(("reason",)),
    "arrears.ended": Shown(()),
    "user.updated": Shown(("name", "status", "changed")),
}


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a customer is told; its id is the place in his own stream, given when it is written there."""

    type: str
    time: datetime
    data: dict[str, Any]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """`users` are those the event itself names, `shared_device` the device whose grants add to them."""

    source: str
    seq: int
    users: frozenset[str]
    shared_device: UUID | None
    owned: bool
    message: bytes


def told(envelope: Envelope) -> Told | None:
    """None for what customers are not told, and for what cannot be read."""
    shown = SHOWN.get(envelope.type)
    if shown is None or envelope.seq is None:
        return None
    try:
        data = msgspec.json.decode(envelope.data, type=dict[str, Any])
        device = UUID(data["deviceId"]) if shown.shared else None
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError):
        return None
    message = Message(
        type=envelope.type, time=envelope.time, data={name: data[name] for name in shown.fields if name in data}
    )
    return Told(
        source=envelope.source,
        seq=envelope.seq,
        users=frozenset(str(data[name]) for name in shown.to if data.get(name)),
        shared_device=device,
        owned=shown.owned,
        message=msgspec.json.encode(message),
    )
