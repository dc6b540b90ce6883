"""Payments over HTTP."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.payment import (
    Dispute,
    DisputeState,
    Payment,
    PaymentPurpose,
    PaymentReconciliation,
    PaymentState,
    PaymentSummary,
    RechargeCreate,
    ReconcilePayments,
    Refund,
    RefundState,
    WebhookDelivery,
)
from cloudphone_shared.contracts.purchase import OrderRefund, PaymentMethod
from cloudphone_shared.database.idempotency import Reply, idempotent, request_hash
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import Conflict, Invalid, NotFound, Unavailable
from cloudphone_shared.http.app import PUBLIC, requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from .. import owners
from ..handling import Billing, Key, Stand, UserId, Who, own_id, sees_all, tagged, with_versions
from . import queries
from .provider import NoAnswer
from .recharges import open_recharge
from .reconciliation import reconcile, table
from .refunds import request_refund
from .service import Payments
from .steps import locked
from .webhooks import hear

T = TypeVar("T")

WEBHOOK_BYTES = 262_144

Paying = NamedDependency[Payments]
HeardAs = Annotated[Literal["applied", "repeated", "ignored", "refused"] | None, QueryParameter(name="outcome")]
DisputeIn = Annotated[DisputeState | None, QueryParameter(name="state")]
Form = Annotated[Literal["json", "csv"], QueryParameter(name="format")]
InState = Annotated[PaymentState | None, QueryParameter(name="state")]
Purpose = Annotated[PaymentPurpose | None, QueryParameter(name="purpose")]
Method = Annotated[PaymentMethod | None, QueryParameter(name="method")]
RefundIn = Annotated[RefundState | None, QueryParameter(name="state")]
PaymentId = Annotated[UUID | None, QueryParameter(name="paymentId")]
OrderId = Annotated[UUID | None, QueryParameter(name="orderId")]


@get(
    "/v1/payments",
    guards=[requires("payments:read"), only_parameters("state", "userId", "purpose", "method", "orderId")],
)
async def list_payments(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: InState = None,
    user_id: UserId = None,
    purpose: Purpose = None,
    method: Method = None,
    order_id: OrderId = None,
) -> Answer[Page[PaymentSummary]]:
    wanted = queries.PaymentFilter(state=in_state, user_id=user_id, purpose=purpose, method=method, order_id=order_id)
    async with billing.database.reading() as session:
        return await queries.payment_page(session, caller, wanted, asked, billing.cursors)


@get("/v1/payments/{payment_id:uuid}", guards=[requires("payments:read")])
async def get_payment(payment_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[Payment]]:
    async with billing.database.reading() as session:
        return tagged(await queries.payment(session, caller, payment_id))


@get("/v1/refunds", guards=[requires("payments:read"), only_parameters("state", "userId", "orderId", "paymentId")])
async def list_refunds(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: RefundIn = None,
    user_id: UserId = None,
    order_id: OrderId = None,
    payment_id: PaymentId = None,
) -> Answer[Page[Refund]]:
    wanted = queries.RefundFilter(state=in_state, user_id=user_id, order_id=order_id, payment_id=payment_id)
    async with billing.database.reading() as session:
        return await queries.refund_page(session, caller, wanted, asked, billing.cursors)


@post("/v1/recharges", guards=[requires("payments:write")])
async def recharge(
    request: Request[Any, Any, Any],
    data: JSONBody[RechargeCreate],
    billing: Stand,
    payments: Paying,
    caller: Who,
    key: Key = None,
) -> Response[Answer[Payment]]:
    """Opened in one transaction, and the provider asked after it: so the same key finds the same payment, whatever
    became of the first request."""
    user_id = data.user_id or own_id(caller)
    if str(user_id) != caller.id:
        caller.require("payments:manage")
    open_for = payments.cards.open_for

    async def make(session: AsyncSession) -> Reply:
        opened = await open_recharge(session, user, data, billing.now(), open_for)
        return Reply.of(opened.id)

    user = await owners.user_named(billing.core, caller, user_id)
    payment_id = await _kept(request, billing, caller, key, make)
    await payments.hold(payment_id)
    async with billing.database.reading() as session:
        answer = await queries.payment(session, caller, payment_id)
        return _created(f"/v1/payments/{payment_id}", await _with_list(session, answer, user_id))


@post("/v1/payments/{payment_id:uuid}/refund", guards=[requires("payments:manage")])
async def refund_recharge(
    request: Request[Any, Any, Any],
    payment_id: FromPath[UUID],
    data: JSONBody[OrderRefund],
    billing: Stand,
    payments: Paying,
    caller: Who,
    key: Key = None,
) -> Response[Answer[Refund]]:
    """Back to the card, out of the wallet. What was paid for an order is refunded through the order."""

    async def make(session: AsyncSession) -> Reply:
        payment = await locked(session, payment_id)
        if not caller.sees(payment.tenant_id, payment.user_id):
            raise NotFound("There is no such payment")
        if payment.purpose != "recharge":
            raise Conflict("The payment is an order's: refund the order", orderId=str(payment.order_id))
        left = payment.captured - payment.refunding - payment.refunded
        requested = await request_refund(
            session, payment, left if data.amount is None else data.amount, data.reason, caller.id, billing.now()
        )
        return Reply.of(requested.id)

    refund_id = await _kept(request, billing, caller, key, make)
    with contextlib.suppress(Unavailable):
        await payments.refund(refund_id)
    async with billing.database.reading() as session:
        answer = await queries.one_refund(session, caller, refund_id)
        return _created(f"/v1/payments/{payment_id}", answer)


@post("/v1/webhooks/card", opt=PUBLIC, request_max_body_size=WEBHOOK_BYTES, status_code=200)
async def card_webhook(request: Request[Any, Any, Any], payments: Paying) -> dict[str, str]:
    try:
        outcome = await hear(payments, await request.body(), request.headers.get("stripe-signature", ""))
    except NoAnswer as error:
        raise Unavailable("card-provider", str(error)) from None
    return {"outcome": outcome}


@get("/v1/webhook-deliveries", guards=[requires("payments:manage"), only_parameters("outcome")])
async def list_deliveries(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery], outcome: HeardAs = None
) -> Answer[Page[WebhookDelivery]]:
    sees_all(caller)
    async with billing.database.reading() as session:
        found = await queries.delivery_page(session, caller, outcome, asked, billing.cursors)
        return Answer(data=found, entities={})


@get("/v1/disputes", guards=[requires("payments:read"), only_parameters("state")])
async def list_disputes(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery], in_state: DisputeIn = None
) -> Answer[Page[Dispute]]:
    async with billing.database.reading() as session:
        found = await queries.dispute_page(session, caller, in_state, asked, billing.cursors)
        return Answer(data=found, entities={})


@get("/v1/payment-reconciliations", guards=[requires("payments:manage"), only_parameters()])
async def list_reconciliations(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery]
) -> Answer[Page[PaymentReconciliation]]:
    sees_all(caller)
    async with billing.database.reading() as session:
        found = await queries.reconciliation_page(session, caller, asked, billing.cursors)
        return Answer(data=found, entities={})


@post("/v1/payment-reconciliations", guards=[requires("payments:manage")])
async def start_reconciliation(
    data: JSONBody[ReconcilePayments], billing: Stand, payments: Paying, caller: Who
) -> Response[Answer[PaymentReconciliation]]:
    sees_all(caller)
    today = billing.now().date()
    day = data.day or today - timedelta(days=1)
    if day > today:
        raise Invalid("The day has not begun")
    report_id = await reconcile(payments, day)
    async with billing.database.reading() as session:
        report = await queries.reconciliation(session, report_id)
    place = {"Location": f"/v1/payment-reconciliations/{report_id}"}
    return Response(Answer(data=report, entities={}), status_code=201, headers=place)


@get("/v1/payment-reconciliations/{report_id:uuid}", guards=[requires("payments:manage")])
async def get_reconciliation(
    report_id: FromPath[UUID], billing: Stand, caller: Who, form: Form = "json"
) -> Response[Any]:
    sees_all(caller)
    async with billing.database.reading() as session:
        report = await queries.reconciliation(session, report_id)
    if form == "json":
        return Response(Answer(data=report, entities={}))
    name = f"payments-{report.day.isoformat()}.csv"
    place = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(table(report), media_type="text/csv", headers=place)


PAYMENTS: list[ControllerRouterHandler] = [
    recharge, list_payments, get_payment, refund_recharge, list_refunds, card_webhook, list_deliveries, list_disputes,
    list_reconciliations, start_reconciliation, get_reconciliation,
]  # fmt: skip


async def _kept(
    request: Request[Any, Any, Any],
    billing: Billing,
    caller: Caller,
    key: str | None,
    make: Callable[[AsyncSession], Awaitable[Reply]],
) -> UUID:
    """What was made under the key. Only its id is kept, since what it answers changes after the commit."""
    same = request_hash(caller.id, request.method, request.url.path, await request.body())
    reply = await idempotent(billing.database, caller.tenant_id, key, same, make)
    return msgspec.json.decode(reply.body, type=UUID)


async def _with_list(session: AsyncSession, answer: Answer[T], user_id: UUID) -> Answer[T]:
    return with_versions(await versions_of(session, entities.payments_of(user_id)), answer)


def _created(place: str, answer: Answer[T]) -> Response[Answer[T]]:
    return Response(answer, status_code=201, headers={"Location": place})
