"""PurchasePlanSaga: from a plan that somebody wants to a device that is his, or to nothing at all."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import OrderCreate
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.quota import ReservationCreate
from cloudphone_shared.contracts.scheduler import AllocationConfirm
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, PaymentRefused, Unavailable

from .. import allocation
from ..models import CopyRow
from ..orders import service as orders
from ..orders.models import OrderRow
from ..payments import wallet
from ..payments.models import PaymentRow
from ..payments.service import CARDS_NOT_TAKEN, Payments, open_payment
from ..payments.steps import Held, PaidOrder, standing
from ..plans import service as plans
from .engine import Engine
from .models import SagaRow
from .steps import Pace, Point, Question, Step, Turn, Wait, nothing_happens

KIND = "purchase-plan"
PIVOT = "CAPTURE_PAYMENT"
EXPIRED = "expired"
"""A payment's failure where its page was closed unpaid."""
TO_PAY = timedelta(minutes=30)
"""How long a customer may take to present a card."""
RECONCILED_WITHIN = timedelta(minutes=5)
"""How often it is looked after a capture whose outcome nobody knows; who finds it out wakes the saga."""


class NoDevice(Conflict):
    """The scheduler's reason is the detail."""

    code = "no-device"
    title = "No device could be allocated"


class NotPaidInTime(Conflict):
    code = "not-paid-in-time"
    title = "The card was not presented in time"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the saga was started with. `user` and `device` as their owners described them; they are forgotten once the
    order, whose copies follow their owners, is there."""

    order: OrderCreate
    order_id: UUID
    payment_id: UUID
    user: User | None
    device: Device | None
    actor: str


class Shop(msgspec.Struct, frozen=True):
    """What the steps stand on. `now` dates orders and payments; waits and leases are timed by the database."""

    core: CoreClients
    payments: Payments
    now: Callable[[], datetime]


def purchases(
    database: Database,
    shop: Shop,
    *,
    pace: Pace = Pace(),  # noqa: B008
    point: Point = nothing_happens,
) -> Engine:
    steps = [ValidatePlan(shop), CreateOrder(shop), HoldPayment(shop), AllocateDevice(shop), CapturePayment(shop),
             ActivateOrder(shop)]  # fmt: skip
    return Engine(database, steps, pivot=PIVOT, pace=pace, point=point)


async def start(
    engine: Engine, session: AsyncSession, saga_id: UUID, wanted: Wanted, tenant_id: UUID, request_hash: bytes
) -> Question | None:
    """None where it was started before."""
    assert wanted.user is not None
    data = msgspec.to_builtins(wanted)
    return await engine.start(
        session, saga_id, kind=KIND, tenant_id=tenant_id, user_id=wanted.user.id, data=data,
        request_hash=request_hash,
    )  # fmt: skip


def wanted_of(saga: SagaRow) -> Wanted:
    return msgspec.convert({name: saga.data[name] for name in Wanted.__struct_fields__}, Wanted)


class PurchaseStep(Step):
    def __init__(self, shop: Shop) -> None:
        self.core, self.payments, self.now = shop.core, shop.payments, shop.now

    async def order(self, turn: Turn) -> OrderRow | None:
        """Locked."""
        return await orders.locked(turn.session, wanted_of(turn.saga).order_id)

    async def the_order(self, turn: Turn) -> OrderRow:
        order = await self.order(turn)
        assert order is not None
        return order


class ValidatePlan(PurchaseStep):
    """A device that the user holds already counts in the quota already."""

    name = "VALIDATE_PLAN"

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return wanted_of(saga).order.device_id is None

    async def ask(self, saga: SagaRow, *, back: bool) -> Any:
        if not self.asks(saga, back=back):
            return
        if back:
            # One never heard of is remembered: what was asked for and is still on its way comes to nothing.
            await self.core.user.release_quota(saga.id)
        else:
            await self.core.user.reserve_quota(ReservationCreate(id=saga.id, user_id=saga.user_id))

    async def take(self, turn: Turn) -> str | None:
        asked = wanted_of(turn.saga).order
        if asked.payment_method == "card" and not self.payments.takes_cards:
            raise Conflict(CARDS_NOT_TAKEN)
        offer = await plans.offered(turn.session, asked.plan_id)
        held = "quota reserved" if turn.asked else "no quota needed"
        return f"{offer.name}, version {offer.version.revision}; {held}"

    async def undo(self, turn: Turn) -> str | None:
        turn.keep(user=None, device=None)
        return "quota released" if turn.asked else "no quota was needed"


class CreateOrder(PurchaseStep):
    name = "CREATE_ORDER"

    async def take(self, turn: Turn) -> str | None:
        wanted = wanted_of(turn.saga)
        assert wanted.user is not None
        asked, at = wanted.order, self.now()
        order = await orders.place(
            turn.session,
            order_id=wanted.order_id,
            saga_id=turn.saga.id,
            plan_id=asked.plan_id,
            user=wanted.user,
            device=wanted.device,
            coupon_code=asked.coupon_code,
            payment_method=asked.payment_method,
            auto_renew=asked.auto_renew,
            payment_id=wanted.payment_id,
            actor=wanted.actor,
            at=at,
        )
        await open_payment(
            turn.session,
            payment_id=wanted.payment_id,
            order=PaidOrder(id=order.id, tenant_id=order.tenant_id, user_id=order.user_id),
            # Nobody is sent to a provider to pay nothing.
            method=asked.payment_method if order.amount else "wallet",
            amount=order.amount,
            currency=order.currency,
            tax=order.tax,
            at=at,
            announcing=turn.announcing,
        )
        turn.saga.order_id = order.id
        turn.keep(user=None, device=None, by_card=asked.payment_method == "card" and order.amount > 0)
        return f"{order.amount} {order.currency} minor units"

    async def undo(self, turn: Turn) -> str | None:
        order = await self.order(turn)
        if order is None:
            return "nothing was ordered"
        saga, at = turn.saga, self.now()
        reason, actor = saga.failure or "undone", saga.data.get("cancelled_by") or orders.PURCHASE
        if order.state == "compensating":
            ending = "cancelled" if saga.cancel_reason else "failed"
            await orders.end_compensated(turn.session, order, ending, reason, at, actor=actor)
        elif saga.refusal is not None and saga.refusal["code"] == NotPaidInTime.code:
            await orders.expire(turn.session, order, reason, at)
        elif order.state == "pending":
            await orders.cancel(turn.session, order, reason, at, actor=actor)
        return f"the order is {order.state}"


class HoldPayment(PurchaseStep):
    """A card waits for its holder; whoever hears from the provider wakes the saga."""

    name = "HOLD_PAYMENT"

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return bool(saga.data.get("by_card"))

    async def ask(self, saga: SagaRow, *, back: bool) -> Held:
        payment_id = wanted_of(saga).payment_id
        if not back:
            return await self.payments.hold(payment_id, expires_at=self.now() + TO_PAY)
        held = await self.payments.void(payment_id, reason=saga.failure or "undone")
        if held.state == "unknown":
            raise Unavailable("payments", "whether anything is held is not known yet")
        return held

    async def take(self, turn: Turn) -> Wait | str | None:
        if turn.asked is None:
            payment_id = wanted_of(turn.saga).payment_id
            await wallet.hold_in(turn.session, payment_id, self.now(), announcing=turn.announcing)
            return "held in the wallet"
        held = await _standing(turn)
        if held.state in ("held", "captured"):
            return "held on the card"
        if held.state in ("refused", "voided"):
            if held.failure == EXPIRED:
                raise NotPaidInTime
            raise held.refusal or PaymentRefused(f"The card was refused: {held.failure}", reason=held.failure)
        if turn.overdue:
            raise NotPaidInTime
        return Wait(TO_PAY, "for the customer" if held.state == "action" else "for the provider")

    async def undo(self, turn: Turn) -> str | None:
        if turn.asked is None:
            payment_id, reason = wanted_of(turn.saga).payment_id, turn.saga.failure or "undone"
            await wallet.void_in(turn.session, payment_id, self.now(), reason=reason, announcing=turn.announcing)
        return "nothing is held any more"


class AllocateDevice(PurchaseStep):
    """Asked for by an event; the reply, heard by `replies.hear_reply`, wakes the saga."""

    name = "ALLOCATE_DEVICE"

    async def take(self, turn: Turn) -> Wait | str | None:
        found = turn.saga.data.get("found")
        # The copy is locked before the order, as it is when the device's owner announces a new name.
        copy = await _copy(turn.session, UUID(found)) if found else None
        order = await self.the_order(turn)
        if order.state == "pending":
            await orders.begin_provisioning(turn.session, order, self.now())
            if order.device_id is None:
                version = await plans.version_of(turn.session, order.plan_id, order.plan_revision)
                await allocation.request(turn.session, order, turn.saga.id, version.template_id, turn.at)
        if order.device_id is not None:
            return "the user holds the device already"
        asked = await allocation.of_order(turn.session, order.id)
        assert asked is not None
        if asked.state == "held" and asked.device_id is not None:
            turn.keep(allocation_id=str(asked.allocation_id), fencing_token=asked.fencing_token)
            await orders.bind_device(
                turn.session, order, asked.device_id, copy, actor=allocation.SCHEDULER, at=self.now()
            )
            return f"device {asked.device_id}"
        if asked.state != "requested":
            raise NoDevice(turn.saga.data.get("no_device") or "The request was given up")
        if turn.overdue:
            raise NoDevice("The scheduler did not answer in time")
        return Wait(allocation.WAITING + allocation.GRACE, "for the scheduler")

    async def undo(self, turn: Turn) -> str | None:
        order = await self.order(turn)
        if order is None:
            return "nothing was asked for"
        reason = turn.saga.failure or "undone"
        if order.state == "provisioning":
            await orders.compensate(turn.session, order, reason, self.now())
        given_back = await allocation.give_back(turn.session, order, reason, turn.at)
        return "the device is given back" if given_back else "no device is held"


class CapturePayment(PurchaseStep):
    """The point of no return. A capture that nobody answered for is never repeated: reconciliation finds it out."""

    name = "CAPTURE_PAYMENT"

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return bool(saga.data.get("by_card")) and not back

    async def ask(self, saga: SagaRow, *, back: bool) -> Held:
        return await self.payments.capture(wanted_of(saga).payment_id)

    async def take(self, turn: Turn) -> Wait | str | None:
        if turn.asked is None:
            payment_id = wanted_of(turn.saga).payment_id
            captured = await wallet.capture_in(turn.session, payment_id, self.now(), announcing=turn.announcing)
        else:
            captured = await _standing(turn)
        if captured.state in ("refused", "voided"):
            raise PaymentRefused("The money is not held any more", reason=captured.failure)
        if captured.state != "captured":
            return Wait(RECONCILED_WITHIN, "for the provider's books")
        await orders.mark_paid(turn.session, await self.the_order(turn), self.now())
        return "captured"


class ActivateOrder(PurchaseStep):
    """Tried until it is done."""

    name = "ACTIVATE_ORDER"

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return "allocation_id" in saga.data

    async def ask(self, saga: SagaRow, *, back: bool) -> Any:
        token = AllocationConfirm(fencing_token=saga.data["fencing_token"])
        await self.core.scheduler.confirm(saga.data["allocation_id"], token, self.core.identity.token)
        await self.core.user.commit_quota(saga.id)

    async def take(self, turn: Turn) -> str | None:
        await orders.complete(turn.session, await self.the_order(turn), self.now())
        return "the device is the user's" if turn.asked else "completed"


async def _standing(turn: Turn) -> Held:
    """The payment as it stands now: the provider may have told of it since it was asked, or refused with more."""
    payment = await turn.session.get_one(PaymentRow, wanted_of(turn.saga).payment_id, populate_existing=True)
    now, answered = standing(payment), turn.asked and turn.asked.answer
    return answered if answered is not None and answered.state == now.state else now


async def _copy(session: AsyncSession, device_id: UUID) -> CopyRow | None:
    return await session.get(CopyRow, entities.device(device_id), with_for_update=True)
