"""Payments over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.payment import (
    Payment,
    PaymentPurpose,
    PaymentState,
    PaymentSummary,
    Refund,
    RefundState,
)
from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from ..handling import Stand, UserId, Who, tagged
from . import queries

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


PAYMENTS: list[ControllerRouterHandler] = [list_payments, get_payment, list_refunds]
