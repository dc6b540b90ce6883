"""More and more entities shown by one view: what its proof costs, and its entry."""

import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec

from cloudphone_cache import Audience, Cache, View, observed
from cloudphone_shared.clients import SERVICES
from tests.bench.figures import Figures
from tests.bench.stand import Stand

COUNTS = (4, 10, 30, 100, 200, 500)
_READS = 200


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    members: str


crowd = View("bench:crowd:{count}", Crowd, fresh_for=300, serve_stale_for=3600)


@crowd.segment
async def members(core: object, count: str) -> str:
    """2 KB that depend on as many entities, spread over the services."""
    for number, service in enumerate(SERVICES):
        share = range(number, int(count), len(SERVICES))
        observed(service, {f"{service}:018f0000-0000-7000-8000-{each:012x}": 10**12 + 1 for each in share}, None)
    return "x" * 2000


@crowd.audience
def audience(members: str) -> Audience:
    return Audience(tenant="")


async def dependencies(stand: Stand, figures: Figures) -> None:
    """Views of 2 KB that depend on 4 to 500 entities: CPU of a read from L1 and L2, before and after any change."""
    rows = figures.growth["dependencies"] = []
    async with Cache(
        [crowd], None, redis=stand.valkey.url, services=SERVICES, absent=(LookupError,), refused=(LookupError,),
        unavailable=(LookupError,), freshness_key=b"only for this benchmark", budget_ms=1000,
    ) as cache:  # fmt: skip
        if not await cache.listening(within=10):
            raise RuntimeError("the feeds are not heard")
        for count in COUNTS:
            params = {"count": str(count)}

            async def read(params: dict[str, str] = params) -> None:
                await cache.read(crowd, params, lambda audience: True)

            async def after_a_change(read: Callable[[], Awaitable[None]] = read) -> None:
                _something_changes(cache)
                await read()

            async def from_redis(read: Callable[[], Awaitable[None]] = read) -> None:
                cache.local.clear()
                await read()

            await read()
            nothing = await _cpu_us(_async(lambda: _something_changes(cache)))
            rows.append(
                {
                    "dependencies": count,
                    "l1_us": round(await _cpu_us(read), 1),
                    "l1_after_change_us": round(await _cpu_us(after_a_change) - nothing, 1),
                    "l2_us": round(await _cpu_us(from_redis), 1),
                    "entry_bytes": await stand.redis("STRLEN", crowd.key_of(params)),
                }
            )
            await stand.redis("DEL", crowd.key_of(params))


_changed = iter(range(10**9))


def _something_changes(cache: Cache) -> None:
    """Heard of an entity that the view does not show."""
    cache.knowledge.merge("device", {"device:another": 10**12 + next(_changed)})


def _async(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        work()

    return run


async def _cpu_us(work: Callable[[], Awaitable[None]]) -> float:
    """This process's CPU for one, the median of nine batches."""
    batches: list[float] = []
    for _ in range(9):
        began = time.process_time()
        for _ in range(_READS):
            await work()
        batches.append((time.process_time() - began) / _READS * 1e6)
    return statistics.median(batches)
