"""A new order."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Order, OrderCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/orders",
    tags=["orders"],
    guards=[staff("orders:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def create_order(
    data: JSONBody[OrderCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Order]:
    """Orders a plan for a user, at the plan's price."""
    order = await core.billing.create_order(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/orders/{order.id}", order)
