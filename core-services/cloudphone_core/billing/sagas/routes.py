"""Purchases, and the sagas that make them, over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import Order, OrderCancel, OrderCreate
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.purchase import Saga, SagaCancel, SagaFull, SagaState, SagaTotals
from cloudphone_shared.database import versions_of
from cloudphone_shared.database.idempotency import request_hash
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from .. import owners
from ..handling import Billing, IfMatch, Key, Stand, UserId, Who, own_id, tagged
from ..orders import queries as order_queries
from ..orders import service as orders
from . import buying, operating, queries
from .engine import Engine

Purchases = NamedDependency[Engine]
InState = Annotated[SagaState | None, QueryParameter(name="state")]
Alarmed = Annotated[bool | None, QueryParameter(description="Whether an operator is wanted")]


@post("/v1/orders", guards=[requires("orders:write")])
async def create_order(
    request: Request[Any, Any, Any],
    data: JSONBody[OrderCreate],
    billing: Stand,
    caller: Who,
    purchases: Purchases,
    key: Key = None,
) -> Response[Answer[Order]]:
    user_id = data.user_id or own_id(caller)
    if str(user_id) != caller.id:
        caller.require("orders:manage")
    user = await owners.active_user(billing.core, caller, user_id)
    device = data.device_id and await owners.device_for(
        billing.core,
        data.device_id,
        tenant_id=user.tenant_id,
        owner_id=user.id if caller.data_scope == "self" else None,
    )
    same = request_hash(caller.id, request.method, request.url.path, await request.body())
    return await buying.buy(billing.database, purchases, caller, key, data, user, device or None, same)


@post("/v1/orders/{order_id:uuid}/cancel", guards=[requires("orders:write")], status_code=200)
async def cancel_order(
    order_id: FromPath[UUID],
    data: JSONBody[OrderCancel],
    billing: Stand,
    caller: Who,
    purchases: Purchases,
    if_match: IfMatch = None,
) -> Response[Answer[Order]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        order = await orders.order_to_change(session, caller, order_id, expected=expected)
        if order.saga_id is None:
            await orders.cancel(session, order, data.reason, billing.now(), actor=caller.id)
    if order.saga_id is not None:
        await operating.turn_back(billing.database, purchases, order.saga_id, data.reason, caller.id)
    async with billing.database.reading() as session:
        return tagged(await order_queries.order(session, caller, order_id))


@get("/v1/sagas", guards=[requires("sagas:read"), only_parameters("state", "userId", "alarmed")])
async def list_sagas(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: InState = None,
    user_id: UserId = None,
    alarmed: Alarmed = None,
) -> Answer[Page[Saga]]:
    wanted = queries.SagaFilter(state=in_state, user_id=user_id, alarmed=alarmed)
    async with billing.database.reading() as session:
        return Answer(data=await queries.sagas(session, caller, wanted, asked, billing.cursors), entities={})


@get("/v1/sagas/totals", guards=[requires("sagas:read")])
async def saga_totals(billing: Stand, caller: Who) -> Answer[SagaTotals]:
    async with billing.database.reading() as session:
        return Answer(data=await queries.totals(session, caller), entities={})


@get("/v1/sagas/{saga_id:uuid}", guards=[requires("sagas:read")])
async def get_saga(saga_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[SagaFull]:
    return await _shown(billing, caller, saga_id)


@post("/v1/sagas/{saga_id:uuid}/resume", guards=[requires("sagas:manage")], status_code=200)
async def resume_saga(saga_id: FromPath[UUID], billing: Stand, caller: Who, purchases: Purchases) -> Answer[SagaFull]:
    await operating.resume(billing.database, purchases, caller, saga_id)
    return await _shown(billing, caller, saga_id)


@post("/v1/sagas/{saga_id:uuid}/cancel", guards=[requires("sagas:manage")], status_code=200)
async def cancel_saga(
    saga_id: FromPath[UUID], data: JSONBody[SagaCancel], billing: Stand, caller: Who, purchases: Purchases
) -> Answer[SagaFull]:
    async with billing.database.reading() as session:
        await operating.seen(session, caller, saga_id)
    await operating.turn_back(billing.database, purchases, saga_id, data.reason, caller.id)
    return await _shown(billing, caller, saga_id)


async def _shown(billing: Billing, caller: Caller, saga_id: UUID) -> Answer[SagaFull]:
    """With the order that it makes: who pushed or turned it sees at the next read what came of that."""
    async with billing.database.reading() as session:
        found = await queries.saga(session, caller, saga_id)
        order_id = found.saga.order_id
        return Answer(data=found, entities=await versions_of(session, entities.order(order_id)) if order_id else {})


SAGAS: list[ControllerRouterHandler] = [
    create_order, cancel_order, list_sagas, saga_totals, get_saga, resume_saga, cancel_saga,
]  # fmt: skip
