"""`cloudphone bus …`"""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from inspect import signature
from typing import Annotated, Any

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console

from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.bus import Bus, BusUnavailable, DeadLetter, connect
from cloudphone_shared.settings import BusSettings, hide_password, load

SERVICES = ("user", "device", "app", "billing", "scheduler")
ANSWER_SECONDS = 10.0

app = cyclopts.App(name="bus", help="The events between services.", help_format="markdown")
dead_letters = cyclopts.App(
    name="dead-letters",
    help=(
        "Events that a subscriber refused or failed on time and again. They wait here until they are replayed.\n\n"
        "Find out why first: replaying delivers them to the same code."
    ),
    help_format="markdown",
)
app.command(dead_letters)


class QueueNames:
    """Stands in for a bus where only the names of the queues are wanted."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def subscribe(self, queue: str, *_: Any, **__: Any) -> None:
        self.names.append(queue)


@dead_letters.command(name="list")
def list_(
    *,
    queue: Annotated[str | None, Parameter(help="Only this one's, such as `device-service.user-updated`.")] = None,
    limit: Annotated[int, Parameter(help="At most so many, the oldest first.")] = 100,
    json: Json = False,
    data: Data = None,
) -> None:
    """What waits, for which queue, since when and why.

    For example:

    - `cloudphone bus dead-letters list`
    - `cloudphone bus dead-letters list --queue device-service.user-updated --json`
    """
    settle(data)
    letters = uvloop.run(_list([queue] if queue else queues(), limit))
    if json:
        print(plain([_shown(letter) for letter in letters]))
        return
    if not letters:
        print("No dead letters.")
        return
    rows = [
        [
            letter.id,
            letter.queue,
            _type(letter),
            str(letter.attempts),
            f"{letter.since:%Y-%m-%d %H:%M:%S}",
            letter.reason,
        ]
        for letter in letters
    ]
    Console().print(table(("id", "queue", "event", "attempts", "since (UTC)", "reason"), rows))


@dead_letters.command
def replay(
    queue: str,
    /,
    *ids: str,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Every dead letter of the queue.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Deliver dead letters to their queue again, as if for the first time.

    For example:

    - `cloudphone bus dead-letters replay device-service.user-updated 17 18`
    - `cloudphone bus dead-letters replay device-service.user-updated --all`
    """
    if bool(ids) == all_:
        raise CommandError("Say which dead letters to replay: their ids, or --all.")
    settle(data)
    count = uvloop.run(_replay(queue, None if all_ else ids))
    print(
        plain({"replayed": count}) if json else f"Replayed {count} dead letter{'' if count == 1 else 's'} of {queue}."
    )


def queues() -> list[str]:
    """Every queue that some service subscribes to and that parks what it cannot take in."""
    seen = QueueNames()
    for service in SERVICES:
        name = f"cloudphone_core.{service}.subscribers"
        if find_spec(name):
            subscribe = importlib.import_module(name).subscribe
            # What they would work with does not matter to the names.
            needed = [each for each in signature(subscribe).parameters.values() if each.default is each.empty]
            subscribe(seen, *[None] * (len(needed) - 1))
    return seen.names


async def _list(names: Sequence[str], limit: int) -> list[DeadLetter]:
    async with _connected() as bus:
        found = [letter for name in names for letter in await bus.list_dead(name, limit)]
    return sorted(found, key=lambda letter: letter.since)[:limit]


async def _replay(queue: str, ids: Sequence[str] | None) -> int:
    async with _connected() as bus:
        return await bus.replay(queue, ids)


@asynccontextmanager
async def _connected() -> AsyncGenerator[Bus]:
    url = load(BusSettings).bus_url
    silent = CommandError(f"The broker at {hide_password(url)} gives no answer: is it running?")
    bus = connect(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await bus.start()
        yield bus
    except (TimeoutError, BusUnavailable):
        raise silent from None
    finally:
        await bus.stop()


def _type(letter: DeadLetter) -> str:
    return letter.envelope.type if letter.envelope else "no envelope"


def _shown(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "since": letter.since,
        "type": _type(letter),
        "body": letter.body.decode(errors="replace"),
    }
