"""What waits at the broker because nobody could take it in."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..dead_letters import QUEUES, DeadLetter, DeadLetters, Queue
from ..staff import overseer


@get(
    "/admin/dead-letters",
    tags=["dead-letters"],
    guards=[overseer("fleet:read"), only_parameters("queue", "limit", paged=False)],
    responses=problems(),
)
async def list_dead_letters(
    dead_letters: NamedDependency[DeadLetters],
    queue: Annotated[Queue | None, QueryParameter()] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 100,
) -> list[DeadLetter]:
    """Events that a subscriber refused, or failed on time and again: which, since when and why; the oldest first."""
    return await dead_letters.list([queue] if queue else QUEUES, limit)
