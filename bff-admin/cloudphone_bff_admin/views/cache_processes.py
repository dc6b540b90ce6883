"""The caches of all processes of both BFFs: how each is, why reads were misses, what each holds in its own layer."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Cache
from cloudphone_cache.board import Process
from cloudphone_cache.desk import ProcessState, Survey
from cloudphone_cache.local import Held
from cloudphone_cache.misses import Miss
from cloudphone_shared.contracts import Contract
from cloudphone_shared.http.problems import problems

from ..staff import overseer, staff

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=200, description="At most so many")]
MissedView = Annotated[
    str | None, QueryParameter(name="view", max_length=100, description="A view's name, as in `device:full`")
]
MissedKey = Annotated[
    str | None, QueryParameter(name="key", max_length=200, description="A view's key, as in `device:full:<id>`")
]
MissedRequest = Annotated[
    str | None, QueryParameter(name="requestId", max_length=64, description="The X-Request-Id of the answer")
]


class Processes(Contract, frozen=True, kw_only=True):
    items: list[ProcessState]


class MissIn(Contract, frozen=True, kw_only=True):
    """A miss, and the process that had it."""

    process: Process
    miss: Miss


class MissesSeen(Contract, frozen=True, kw_only=True):
    """The latest first. Each process remembers its last 256; `silent` are those that did not answer."""

    items: list[MissIn]
    silent: list[Process]


class HeldIn(Contract, frozen=True, kw_only=True):
    process: Process
    held: Held


class Hot(Contract, frozen=True, kw_only=True):
    """A view by its key: hits of late over all processes, and each one that holds it among its hottest."""

    key: str
    hits: int
    held: list[HeldIn]


class Hottest(Contract, frozen=True, kw_only=True):
    """The most asked for first, of each process's 20 hottest or as many as were asked for."""

    items: list[Hot]
    silent: list[Process]


class Layer(Survey, frozen=True, kw_only=True, rename="camel"):
    """One process's own layer, the views that take up most first."""

    process: Process


class Layers(Contract, frozen=True, kw_only=True):
    items: list[Layer]
    silent: list[Process]


@get("/admin/cache/processes", tags=["cache"], guards=[staff("cache:read")], responses=problems())
async def show_processes(cache: NamedDependency[Cache]) -> Processes:
    """Every process of both BFFs: since when, hit rate, counters, own layer, and how far it has heard each service.

    A process that does not answer is shown by its last report; one that is gone vanishes after ten seconds.
    """
    return Processes(items=await cache.desk.processes())


@get("/admin/cache/misses", tags=["cache"], guards=[overseer("cache:read")], responses=problems())
async def list_misses(
    cache: NamedDependency[Cache],
    view: MissedView = None,
    key: MissedKey = None,
    request_id: MissedRequest = None,
    limit: Limit = 50,
) -> MissesSeen:
    """Why reads of late were misses, in every process: of a view, of a key, of one request."""
    gathered = await cache.desk.misses(limit, view=view, key=key, request_id=request_id)
    seen = [MissIn(process=who, miss=miss) for who, misses in gathered.answers for miss in misses]
    seen.sort(key=lambda each: each.miss.at_ms, reverse=True)
    return MissesSeen(items=seen[:limit], silent=gathered.silent)


@get("/admin/cache/hottest", tags=["cache"], guards=[overseer("cache:read")], responses=problems())
async def list_hottest(cache: NamedDependency[Cache], limit: Limit = 20) -> Hottest:
    """Which views are asked for most, over all processes."""
    gathered = await cache.desk.survey(limit)
    by_key: dict[str, list[HeldIn]] = {}
    for who, survey in gathered.answers:
        for held in survey.hottest:
            by_key.setdefault(held.key, []).append(HeldIn(process=who, held=held))
    hot = [Hot(key=key, hits=sum(each.held.hits for each in held), held=held) for key, held in by_key.items()]
    hot.sort(key=lambda each: (-each.hits, each.key))
    return Hottest(items=hot[:limit], silent=gathered.silent)


@get("/admin/cache/layers", tags=["cache"], guards=[overseer("cache:read")], responses=problems())
async def list_layers(cache: NamedDependency[Cache], limit: Limit = 20) -> Layers:
    """What each process holds in its own layer: by view, and its `limit` hottest entries."""
    gathered = await cache.desk.survey(limit)
    layers = [Layer(process=who, **msgspec.structs.asdict(survey)) for who, survey in gathered.answers]
    return Layers(items=layers, silent=gathered.silent)
