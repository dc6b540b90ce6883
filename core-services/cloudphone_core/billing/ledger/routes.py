"""Accounts, transfers and statements over HTTP."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.billing import Balance
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.ledger import (
    Adjustment,
    AdjustmentCreate,
    AdjustmentDecision,
    AdjustmentState,
    Transaction,
    Transfer,
    TransferKind,
    TransferState,
    TrialBalance,
)
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters

from .. import owners
from ..handling import Billing, Key, Stand, UserId, Who, once, sees_all
from . import adjustments, queries, reads
from .queries import Period
from .statement_table import as_csv

Money = Annotated[str | None, QueryParameter(name="currency", pattern="^[A-Z]{3}$")]
Kind = Annotated[TransferKind | None, QueryParameter(name="kind")]
Since = Annotated[date | None, QueryParameter(name="since", description="The first day, UTC")]
Until = Annotated[date | None, QueryParameter(name="until", description="The day after the last, UTC")]
Format = Annotated[Literal["json", "csv"] | None, QueryParameter(name="format")]
InState = Annotated[TransferState | None, QueryParameter(name="state")]
Decided = Annotated[AdjustmentState | None, QueryParameter(name="state")]
UntilMoment = Annotated[datetime | None, QueryParameter(name="until", description="What was booked before; now")]


@get("/v1/users/balances", guards=[requires("orders:read")])
async def balances(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[Balance | None]]:
    sees_all(caller)
    return await reads.balances(billing.database, parse_ids(ids))


@get("/v1/users/{user_id:uuid}/balance", guards=[requires("orders:read")])
async def balance_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[Balance | None]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.balance(billing.database, user_id)


@get(
    "/v1/users/{user_id:uuid}/transactions",
    guards=[requires("orders:read"), only_parameters("currency", "kind", "since", "until")],
)
async def transactions_of(
    user_id: FromPath[UUID],
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    currency: Money = None,
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
) -> Answer[Page[Transaction]]:
    await owners.may_see_user(billing.core, caller, user_id)
    period = Period(since=since, until=until)
    async with billing.database.reading() as session:
        return await queries.transactions(
            session, user_id, period, asked, billing.cursors, currency=currency, kind=kind
        )


@get(
    "/v1/users/{user_id:uuid}/statement",
    guards=[requires("orders:read"), only_parameters("currency", "since", "until", "format")],
)
async def statement_of(
    request: Request[Any, Any, Any],
    user_id: FromPath[UUID],
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    currency: Money = None,
    since: Since = None,
    until: Until = None,
    wanted_format: Format = None,
) -> Response[Any]:
    """In the wallet's first currency unless another is named."""
    await owners.may_see_user(billing.core, caller, user_id)
    period = Period(since=since, until=until)
    if currency is None:
        first = (await reads.balance(billing.database, user_id)).data
        currency = first.currency if first else "USD"
    if _as_csv_wanted(request, wanted_format):
        name = f"statement-{user_id}-{currency}.csv"
        return Stream(
            as_csv(_lines(billing, user_id, period, currency)),
            media_type="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    async with billing.database.reading() as session:
        return Response(
            await queries.statement(
                session, user_id, period, asked, billing.cursors, currency=currency, now=billing.now()
            )
        )


def _as_csv_wanted(request: Request[Any, Any, Any], named: str | None) -> bool:
    return (named or request.accept.best_match(["application/json", "text/csv"])) in ("csv", "text/csv")


async def _lines(billing: Billing, user_id: UUID, period: Period, currency: str) -> AsyncIterator[Transaction]:
    async with billing.database.reading() as session:
        lines = queries.statement_lines(session, user_id, period, currency=currency, now=billing.now())
        async with aclosing(lines):
            async for line in lines:
                yield line


@get("/v1/transfers", guards=[requires("ledger:read"), only_parameters("kind", "state", "userId")])
async def list_transfers(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    kind: Kind = None,
    in_state: InState = None,
    user_id: UserId = None,
) -> Answer[Page[Transfer]]:
    async with billing.database.reading() as session:
        return await queries.transfer_page(
            session, caller, asked, billing.cursors, kind=kind, state=in_state, user_id=user_id
        )


@get("/v1/transfers/{transfer_id:uuid}", guards=[requires("ledger:read")])
async def get_transfer(transfer_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[Transfer]:
    async with billing.database.reading() as session:
        return await queries.transfer(session, caller, transfer_id)


@get("/v1/trial-balance", guards=[requires("ledger:read")])
async def get_trial_balance(billing: Stand, caller: Who, until: UntilMoment = None) -> Answer[TrialBalance]:
    async with billing.database.reading() as session:
        found = await queries.trial_balance(session, queries.tenant_seen(caller), until or billing.now())
    return Answer(data=found, entities={})


@post("/v1/users/{user_id:uuid}/adjustments", guards=[requires("wallets:adjust")])
async def adjust(
    request: Request[Any, Any, Any],
    user_id: FromPath[UUID],
    data: JSONBody[AdjustmentCreate],
    billing: Stand,
    caller: Who,
    key: Key = None,
) -> Response[Any]:
    """201 where it was applied, 202 where somebody else is to decide."""
    user = await owners.user_named(billing.core, caller, user_id)

    async def make(session: AsyncSession) -> Reply:
        answer = await adjustments.ask(session, caller, user, data, limit=billing.adjustment_limit, at=billing.now())
        return Reply.of(answer, status=201 if answer.data.state == "applied" else 202)

    return await once(request, billing, caller, key, make)


@get("/v1/adjustments", guards=[requires("ledger:read"), only_parameters("state")])
async def list_adjustments(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery], in_state: Decided = None
) -> Answer[Page[Adjustment]]:
    async with billing.database.reading() as session:
        return await adjustments.page_of(session, caller, asked, billing.cursors, state=in_state)


@post("/v1/adjustments/{adjustment_id:uuid}/approve", guards=[requires("wallets:adjust")], status_code=200)
async def approve_adjustment(
    adjustment_id: FromPath[UUID], data: JSONBody[AdjustmentDecision], billing: Stand, caller: Who
) -> Answer[Adjustment]:
    async with billing.database.writing() as session:
        return await adjustments.approve(session, caller, adjustment_id, data.reason, billing.now())


@post("/v1/adjustments/{adjustment_id:uuid}/reject", guards=[requires("wallets:adjust")], status_code=200)
async def reject_adjustment(
    adjustment_id: FromPath[UUID], data: JSONBody[AdjustmentDecision], billing: Stand, caller: Who
) -> Answer[Adjustment]:
    async with billing.database.writing() as session:
        return await adjustments.reject(session, caller, adjustment_id, data.reason, billing.now())


LEDGER: list[ControllerRouterHandler] = [
    balances, balance_of, transactions_of, statement_of, list_transfers, get_transfer, get_trial_balance,
    adjust, list_adjustments, approve_adjustment, reject_adjustment,
]  # fmt: skip
