"""`cloudphone saga …`"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console

from cloudphone_deploy.commands.asking import asking
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_shared.clients.listing import Listing
from cloudphone_shared.clients.purchases import SagaClient
from cloudphone_shared.contracts.purchase import Saga, SagaCancel, SagaFull, SagaState

app = cyclopts.App(
    name="saga",
    help=(
        "Purchases on their way: what each has done, what it waits for, and what it cannot get past.\n\n"
        "A purchase goes on by itself. One with an alarm goes on as well; it wants somebody to look why it fails."
    ),
    help_format="markdown",
)


@app.command(name="list")
def list_(
    *,
    state: Annotated[SagaState | None, Parameter(help="Only those that are so.")] = None,
    alarmed: Annotated[bool, Parameter(negative="", help="Only those that want somebody to look.")] = False,
    limit: Annotated[int, Parameter(help="At most so many, the newest first, 1 to 100.")] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """The latest purchases: where each is, since when, and what it failed on.

    For example:

    - `cloudphone saga list --alarmed`
    - `cloudphone saga list --state compensating --json`
    """
    wanted = {"state": state, "alarmed": "true" if alarmed else None}
    listing = Listing(limit=limit, filters={name: value for name, value in wanted.items() if value is not None})
    sagas: list[Saga] = uvloop.run(_ask(data, lambda client: client.page(listing))).items
    if json:
        print(plain(sagas))
        return
    headings = ("id", "begun (UTC)", "state", "step", "attempts", "alarm since", "failure")
    Console().print(table(headings, [_row(saga) for saga in sagas]))


@app.command
def show(saga_id: UUID, /, *, json: Json = False, data: Data = None) -> None:
    """Its time line: every step, forward and back, with what came of it."""
    _tell(uvloop.run(_ask(data, lambda client: client.one(saga_id))), json)


@app.command
def resume(saga_id: UUID, /, *, json: Json = False, data: Data = None) -> None:
    """Try its step now, not when its pause is over."""
    _tell(uvloop.run(_ask(data, lambda client: client.resume(saga_id))), json)


@app.command
def cancel(
    saga_id: UUID,
    /,
    *,
    reason: Annotated[str, Parameter(help="What the customer is told.")] = "cancelled by an operator",
    json: Json = False,
    data: Data = None,
) -> None:
    """Undo what it has done. Refused once the money was taken: then the order can be refunded.

    For example: `cloudphone saga cancel 0192… --reason "ordered twice"`
    """
    wanted = SagaCancel(reason=reason)
    _tell(uvloop.run(_ask(data, lambda client: client.cancel(saga_id, wanted))), json)


async def _ask(data: Path | None, question: Callable[[SagaClient], Awaitable[Any]]) -> Any:
    async with asking("billing", data) as http:
        return await question(SagaClient(http))


def _tell(told: SagaFull, json: bool) -> None:
    if json:
        print(plain(told))
        return
    saga = told.saga
    alarm = f", ALARM since {_moment(saga.alarmed_at)}" if saga.alarmed_at else ""
    again = f", again at {_moment(saga.wake_at)}" if saga.wake_at else ""
    print(f"{saga.id}: {saga.state} at {saga.step}{again}{alarm}")
    print(f"order {saga.order_id or 'not made'}, user {saga.user_id}" + (f": {saga.failure}" if saga.failure else ""))
    rows = [
        [str(step.number), _moment(step.started_at), step.step, step.direction, step.outcome or "…", step.detail or ""]
        for step in told.timeline
    ]
    Console().print(table(("", "at (UTC)", "step", "direction", "outcome", "detail"), rows))


def _row(saga: Saga) -> list[str]:
    alarm = _moment(saga.alarmed_at) if saga.alarmed_at else ""
    return [
        str(saga.id), _moment(saga.created_at), saga.state, saga.step, str(saga.attempts), alarm, saga.failure or "",
    ]  # fmt: skip


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
