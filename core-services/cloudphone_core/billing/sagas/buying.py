"""Buying a plan: the purchase is started, and driven by the request that wants it as far as it goes at once."""

import contextlib
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
from litestar import Response
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import Order, OrderCreate
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database, versions_of
from cloudphone_shared.database.idempotency import REPLAYED, check_key
from cloudphone_shared.errors import (
    Conflict,
    DomainError,
    IdempotencyKeyReused,
    Problem,
    RequestInFlight,
    StateConflict,
    Unavailable,
)
from cloudphone_shared.http.preconditions import etag
from cloudphone_shared.ids import uuid7

from ..handling import with_versions
from ..orders import queries
from . import operating, purchase
from .engine import Engine
from .models import SagaRow

_PURCHASES = UUID("9a3e1a52-4b0c-5d0a-8a57-2f1f0d3c6b11")
"""Name space of the purchases that have an Idempotency-Key."""


def saga_id_of(tenant_id: str, key: str | None) -> UUID:
    """The same for the same key, so that one key buys once, however often and wherever it is sent at once."""
    if key is None:
        return uuid4()
    check_key(key)
    return uuid5(_PURCHASES, f"{tenant_id}\0{key}")


async def buy(
    database: Database,
    engine: Engine,
    caller: Caller,
    key: str | None,
    asked: OrderCreate,
    user: User,
    device: Device | None,
    request_hash: bytes,
) -> Response[Answer[Order]]:
    """The order as it stands when the purchase waits or is done.

    Raises what the purchase was refused with, `orderId` among the facts, when it is undone or being undone.
    """
    saga_id = saga_id_of(caller.tenant_id, key)
    wanted = purchase.Wanted(
        order=asked, order_id=uuid7(), payment_id=uuid7(), user=user, device=device, actor=caller.id
    )
    async with database.writing() as session:
        question = await purchase.start(engine, session, saga_id, wanted, user.tenant_id, request_hash)
    await engine.drive(question)
    async with database.reading() as session:
        saga = await session.get_one(SagaRow, saga_id)
        if question is None:
            _check_repetition(saga, request_hash)
        if saga.state in ("compensating", "compensated"):
            raise _refusal(saga)
        if saga.order_id is not None:
            return await _placed(session, caller, saga, saga.order_id, again=question is None)
    if key is None:
        # Nobody could ask for its outcome, and nobody is to be surprised by it.
        with contextlib.suppress(StateConflict):
            await operating.turn_back(database, engine, saga_id, "it could not be begun at once", caller.id)
    raise Unavailable("billing", "the purchase could not be begun yet: ask again with the same Idempotency-Key")


def _check_repetition(saga: SagaRow, request_hash: bytes) -> None:
    if saga.request_hash != request_hash:
        raise IdempotencyKeyReused
    if saga.state == "running" and saga.order_id is None and saga.lease_token is not None:
        raise RequestInFlight(headers={"Retry-After": "1"})


async def _placed(
    session: AsyncSession, caller: Caller, saga: SagaRow, order_id: UUID, *, again: bool
) -> Response[Answer[Order]]:
    answer = await queries.order(session, caller, order_id)
    changed = entities.orders_of(saga.user_id), entities.balance(saga.user_id), entities.payments_of(saga.user_id)
    answer = with_versions(await versions_of(session, *changed), answer)
    headers = {"Location": f"/v1/orders/{order_id}", "ETag": etag(answer.data.version)}
    return Response(answer, status_code=201, headers={**headers, REPLAYED: "true"} if again else headers)


def _refusal(saga: SagaRow) -> Exception:
    order: dict[str, Any] = {"orderId": str(saga.order_id)} if saga.order_id else {}
    if saga.refusal is not None:
        refused = DomainError.of(msgspec.convert(saga.refusal, Problem))
        refused.members.update(order)
        return refused
    if saga.cancel_reason:
        return Conflict(f"The purchase was cancelled: {saga.cancel_reason}", **order)
    return Unavailable("billing", saga.failure or "the purchase could not be made")
