"""Payments, refunds, disputes and what providers told us, from the billing service as they stand."""

from typing import Annotated, Literal
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.payment import (
    Dispute,
    DisputeState,
    Payment,
    PaymentSummary,
    Refund,
    RefundState,
    WebhookDelivery,
)
from cloudphone_shared.http.handling import (
    Asked,
    ByMethod,
    Core,
    ForPurpose,
    InPaymentState,
    OfOrder,
    OfUser,
    Who,
)
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import overseer, staff


@get(
    "/admin/payments",
    tags=["payments"],
    guards=[staff("payments:read"), only_parameters("state", "userId", "purpose", "method", "orderId")],
    responses=problems(),
)
async def list_payments(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: InPaymentState = None,
    user_id: OfUser = None,
    purpose: ForPurpose = None,
    method: ByMethod = None,
    order_id: OfOrder = None,
) -> Page[PaymentSummary]:
    """Payments, newest first."""
    listing = asked.listing(state=present_state, userId=user_id, purpose=purpose, method=method, orderId=order_id)
    return await core.billing.payments.page(listing, bearer=passing_on(caller))


@get("/admin/payments/{payment_id:uuid}", tags=["payments"], guards=[staff("payments:read")], responses=problems(404))
async def show_payment(payment_id: FromPath[UUID], core: Core, caller: Who) -> Payment:
    """A payment with its history."""
    return await core.billing.payments.one(payment_id, bearer=passing_on(caller))


@get(
    "/admin/refunds",
    tags=["payments"],
    guards=[staff("payments:read"), only_parameters("state", "userId", "orderId", "paymentId")],
    responses=problems(),
)
async def list_refunds(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: Annotated[RefundState | None, QueryParameter(name="state")] = None,
    user_id: OfUser = None,
    order_id: OfOrder = None,
    payment_id: Annotated[UUID | None, QueryParameter(name="paymentId")] = None,
) -> Page[Refund]:
    """Refunds, newest first."""
    listing = asked.listing(state=present_state, userId=user_id, orderId=order_id, paymentId=payment_id)
    return await core.billing.payments.refunds(listing, bearer=passing_on(caller))


@get(
    "/admin/disputes",
    tags=["payments"],
    guards=[staff("payments:read"), only_parameters("state")],
    responses=problems(),
)
async def list_disputes(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
) -> Page[Dispute]:
    """Charges that customers told their banks were wrong."""
    return await core.billing.payments.disputes(asked.listing(state=present_state), bearer=passing_on(caller))


@get(
    "/admin/webhook-deliveries",
    tags=["payments"],
    guards=[overseer("payments:manage"), only_parameters("outcome")],
    responses=problems(),
)
async def list_webhook_deliveries(
    core: Core,
    caller: Who,
    asked: Asked,
    outcome: Annotated[Literal["applied", "repeated", "ignored", "refused"] | None, QueryParameter()] = None,
) -> Page[WebhookDelivery]:
    """What payment providers told us, latest first, and what was made of it."""
    return await core.billing.payments.deliveries(asked.listing(outcome=outcome), bearer=passing_on(caller))


PAYMENTS = [list_payments, show_payment, list_refunds, list_disputes, list_webhook_deliveries]
