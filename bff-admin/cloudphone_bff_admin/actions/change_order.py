"""An order's next state, by hand."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Order, OrderPatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/orders/{order_id:uuid}",
    tags=["orders"],
    guards=[staff("orders:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_order(
    order_id: FromPath[UUID],
    data: JSONBody[OrderPatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Order:
    """Takes an order's next step by hand, along its table of states."""
    return await core.billing.change_order(order_id, data, passing_on(caller), if_match=if_match)
