"""An order of the caller's."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Request
from cloudphone_shared.contracts.billing import OrderCreate
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..orders import MyOrder


class MyOrderCreate(Request, frozen=True, kw_only=True):
    """The price is the plan's; an order is always the caller's own."""

    plan_id: UUID
    device_id: UUID | None = None


@post("/my/orders", tags=["orders"], guards=[requires("orders:write")], responses=problems(404, 409, 413, 415, 422))
async def create_my_order(
    data: JSONBody[MyOrderCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[MyOrder]:
    """Orders a plan for the caller."""
    wanted = OrderCreate(plan_id=data.plan_id, device_id=data.device_id, user_id=UUID(caller.id))
    order = await core.billing.create_order(wanted, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/my/orders/{order.id}", MyOrder.of(order))
