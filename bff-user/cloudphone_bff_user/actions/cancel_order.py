"""Cancelling one of the caller's orders."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import OrderCancel
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..orders import MyOrder


@post(
    "/my/orders/{order_id:uuid}/cancel",
    status_code=200,
    tags=["orders"],
    guards=[requires("orders:write")],
    responses=problems(404, 409, 412, 413, 415),
)
async def cancel_my_order(
    order_id: FromPath[UUID],
    data: JSONBody[OrderCancel],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> MyOrder:
    """Cancels one of the caller's orders while it is pending."""
    return MyOrder.of(await core.billing.cancel_order(order_id, data, passing_on(caller), if_match=if_match))
