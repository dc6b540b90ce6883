"""Dead letters, delivered again."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from cloudphone_shared.contracts import Contract, Request
from cloudphone_shared.http.problems import problems

from ..dead_letters import DeadLetters, Queue
from ..staff import overseer


class Replay(Request, frozen=True, kw_only=True):
    """`ids` null: all of the queue."""

    queue: Queue
    ids: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(min_length=1, max_length=100)] | None = None


class Replayed(Contract, frozen=True, kw_only=True):
    replayed: int


@post(
    "/admin/dead-letters/replay",
    status_code=200,
    tags=["dead-letters"],
    guards=[overseer("fleet:manage")],
    responses=problems(413, 415),
)
async def replay_dead_letters(data: JSONBody[Replay], dead_letters: NamedDependency[DeadLetters]) -> Replayed:
    """Delivers dead letters to their queue again, as if for the first time, to the same code: find out why first."""
    return Replayed(replayed=await dead_letters.replay(data.queue, data.ids))
