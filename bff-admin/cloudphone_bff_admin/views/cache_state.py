"""The cache as this process knows it: counters and feeds; and one view's entry with the verdict on it."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Cache, Explained
from cloudphone_cache.board import Process
from cloudphone_shared.contracts import Contract
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.problems import problems

from ..staff import overseer, staff

ViewKey = Annotated[str, QueryParameter(name="key", max_length=200, description="As in `device:full:<id>`")]


class CacheStatistics(Contract, frozen=True, kw_only=True):
    """Counters since this process started, and sizes. `hit_rate` of reads, 0 to 1; null before the first."""

    hit_rate: float | None
    counters: dict[str, float]
    views: list[str]


class Feed(Contract, frozen=True, kw_only=True):
    """One service's feed as heard here: nothing after `since` was missed, up to `position`. All that was committed
    before `as_of_ms` has been heard; `age_ms` is the most its owner may be ahead. Nulls: nothing was heard yet."""

    service: str
    position: int | None
    since: int | None
    as_of_ms: int | None
    age_ms: int | None
    remembered: int


class Feeds(Contract, frozen=True, kw_only=True):
    """`live`: the connection that the feeds come by has answered of late."""

    live: bool
    services: list[Feed]


@get("/admin/cache", tags=["cache"], guards=[staff("cache:read")], responses=problems())
async def show_cache(cache: NamedDependency[Cache]) -> CacheStatistics:
    """Hits, misses, compositions and sizes of this process."""
    counters = cache.stats()
    hits = counters["hits_l1"] + counters["hits_l2"]
    reads = hits + counters["misses"]
    return CacheStatistics(hit_rate=hits / reads if reads else None, counters=counters, views=sorted(cache.views))


@get("/admin/cache/feed", tags=["cache"], guards=[staff("cache:read")], responses=problems())
async def show_feed(cache: NamedDependency[Cache]) -> Feeds:
    """How far each service's changes have been heard here."""
    feeds = [Feed(**position._asdict()) for position in cache.feed_positions()]
    return Feeds(live=cache.knowledge.live, services=feeds)


class HeldElsewhere(Contract, frozen=True, kw_only=True):
    """What another process would serve: from which layer, read when, and the verdict on it there."""

    process: Process
    layer: str | None
    kind: str | None
    proven: bool
    reason: str
    read_at: int | None


class ViewState(Explained, frozen=True, kw_only=True, rename="camel"):
    """The entry as `process` would serve it, and what every other process that shows this view holds."""

    process: Process
    elsewhere: list[HeldElsewhere]
    silent: list[Process]


@get("/admin/cache/view", tags=["cache"], guards=[overseer("cache:read")], responses=problems(404))
async def explain_view(cache: NamedDependency[Cache], key: ViewKey) -> ViewState:
    """One view's entry: what each segment shows since when, what was announced since, whether it is proven and why.

    Views of either BFF; it is told as this process has it, or another that shows the view.
    """
    gathered = await cache.desk.show(key)
    known = [(who, found) for who, found in gathered.answers if found is not None]
    if not known:
        raise NotFound("No view of a process that answers has such a key")
    known.sort(key=lambda each: each[0].id != cache.desk.process.id)
    process, found = known[0]
    elsewhere = [
        HeldElsewhere(
            process=who,
            layer=other.layer,
            kind=other.kind,
            proven=other.proven,
            reason=other.reason,
            read_at=other.read_at,
        )
        for who, other in known[1:]
    ]
    return ViewState(**msgspec.structs.asdict(found), process=process, elsewhere=elsewhere, silent=gathered.silent)
