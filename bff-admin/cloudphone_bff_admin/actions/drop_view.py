"""Forgetting one cached view."""

from litestar import delete
from litestar.di import NamedDependency

from cloudphone_cache import Cache, RedisAway, RedisRefused
from cloudphone_cache.board import Process
from cloudphone_shared.contracts import Contract
from cloudphone_shared.errors import NotFound, Unavailable
from cloudphone_shared.http.problems import problems

from ..staff import overseer
from ..views.cache_state import ViewKey


class Dropped(Contract, frozen=True, kw_only=True):
    """`dropped`: there was an entry. `heard` are the processes that have forgotten it, in their own layer as well;
    `silent` those that did not answer: they may serve their copy for as long as it is proven."""

    key: str
    dropped: bool
    heard: list[Process]
    silent: list[Process]


@delete(
    "/admin/cache/view", status_code=200, tags=["cache"], guards=[overseer("cache:manage")], responses=problems(404)
)
async def drop_view(cache: NamedDependency[Cache], key: ViewKey) -> Dropped:
    """Drops one view's entry from Redis and from every process's own layer; its next reader composes it."""
    try:
        gathered = await cache.desk.drop(key)
    except (RedisAway, RedisRefused) as error:
        raise Unavailable("redis", str(error)) from None
    known = [(who, answer) for who, answer in gathered.answers if answer.known]
    if not known:
        raise NotFound("No view of a process that answers has such a key")
    return Dropped(
        key=key,
        dropped=any(answer.dropped for _, answer in known),
        heard=[who for who, _ in known],
        silent=gathered.silent,
    )
