"""A plan that the caller buys."""

from uuid import UUID

from litestar import Response, post
from litestar.params import JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Request
from cloudphone_shared.contracts.billing import OrderCreate
from cloudphone_shared.contracts.purchase import CouponCode, PaymentMethod
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..orders import MyOrder


class MyOrderCreate(Request, frozen=True, kw_only=True):
    """The price is the plan's; an order is always the caller's own. With `device_id`, one of the caller's devices, none
    is allocated."""

    plan_id: UUID
    device_id: UUID | None = None
    coupon_code: CouponCode | None = None
    payment_method: PaymentMethod = "wallet"
    auto_renew: bool = True


@post("/my/orders", tags=["orders"], guards=[requires("orders:write")], responses=problems(404, 409, 413, 415, 422))
async def create_my_order(
    data: JSONBody[MyOrderCreate], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[MyOrder]:
    """Buys a plan. The order as far as it came at once: with a card, `checkoutUrl` says where to pay. What could not be
    paid, or is more than the caller may have, is refused."""
    wanted = OrderCreate(
        plan_id=data.plan_id, device_id=data.device_id, user_id=UUID(caller.id), coupon_code=data.coupon_code,
        payment_method=data.payment_method, auto_renew=data.auto_renew,
    )  # fmt: skip
    order = await core.billing.create_order(wanted, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/my/orders/{order.id}", MyOrder.of(order))
