"""Money back: of an order, or of a payment that was no order's."""

from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.billing import Order
from cloudphone_shared.contracts.payment import Refund
from cloudphone_shared.contracts.purchase import OrderRefund
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/orders/{order_id:uuid}/refund",
    status_code=200,
    tags=["orders"],
    guards=[staff("orders:manage")],
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def refund_order(
    order_id: FromPath[UUID],
    data: JSONBody[OrderRefund],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Order:
    """Gives an order's money back to where it came from: all of it, and the order ends; or a part."""
    return await core.billing.refund_order(
        order_id, data, passing_on(caller), idempotency_key=idempotency_key, if_match=if_match
    )


@post(
    "/admin/payments/{payment_id:uuid}/refund",
    tags=["payments"],
    guards=[staff("payments:manage")],
    responses=problems(404, 409, 413, 415, 422),
)
async def refund_payment(
    payment_id: FromPath[UUID],
    data: JSONBody[OrderRefund],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response[Refund]:
    """Gives a recharge back, or a part of it, from the wallet to the card."""
    refund = await core.billing.payments.refund(payment_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/payments/{payment_id}", refund)
