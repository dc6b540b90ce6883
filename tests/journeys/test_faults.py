"""kill -9 between commit and feed: nothing is lost, and meanwhile nothing stale is called fresh. On both buses."""

from collections.abc import Awaitable, Callable

import pytest
from anyio import to_thread

from tests.conditions import eventually
from tests.journeys.client import Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.journeys.oracle import Renames, last_numbers, unpublished, watched
from tests.servers import Server

pytestmark = pytest.mark.anyio

EachPlatform = OnNats | OnRabbitMQ


async def _held_back(part: Server, renames: Renames) -> None:
    """Stops a part in its tracks, and waits for a change that it has not dealt with."""
    part.pause()
    before = len(renames.committed)
    await eventually(lambda: len(renames.committed) > before + 1)


async def relay(platform: EachPlatform, renames: Renames) -> None:
    """Dies with changes committed that it has not published."""
    workers = platform.processes["workers"]
    await _held_back(workers, renames)
    workers.kill()
    await to_thread.run_sync(workers.start)


async def service(platform: EachPlatform, renames: Renames) -> None:
    """Dies before what it committed is published."""
    workers, services = platform.processes["workers"], platform.processes["services"]
    await _held_back(workers, renames)
    services.kill()
    workers.resume()
    await to_thread.run_sync(services.start)


async def cache_worker(platform: EachPlatform, renames: Renames) -> None:
    """Dies with changes on the bus that it has not written to the feed."""
    worker = platform.processes["cache-worker"]
    await _held_back(worker, renames)
    worker.kill()
    await to_thread.run_sync(worker.start)


async def broker(platform: EachPlatform, renames: Renames) -> None:
    """Dies with changes that it has confirmed and not delivered."""
    worker = platform.processes["cache-worker"]
    await _held_back(worker, renames)
    platform.bus.kill()
    worker.resume()
    await to_thread.run_sync(platform.bus.start)


async def redis(platform: EachPlatform, renames: Renames) -> None:
    """Dies, with everything it knew, before the feed has the changes."""
    worker = platform.processes["cache-worker"]
    await _held_back(worker, renames)
    platform.store.kill()
    worker.resume()
    await to_thread.run_sync(platform.store.start)


@pytest.mark.parametrize("fault", [relay, service, cache_worker, broker, redis], ids=lambda fault: fault.__name__)
async def test_a_part_that_is_killed_between_commit_and_feed_loses_nothing_and_nothing_stale_counts_as_fresh(
    each_platform: EachPlatform, fault: Callable[[EachPlatform, Renames], Awaitable[None]]
) -> None:
    async with Staff(each_platform) as admin, await admin.new_customer() as customer:
        async with watched(admin, customer) as (renames, witnesses):
            await eventually(lambda: len(renames.committed) > 5)
            await fault(each_platform, renames)
            after, _ = renames.committed[-1]
            await eventually(lambda: all(each.hit > after for each in witnesses))
        last = await renames.one()

        async def everybody_knows() -> bool:
            return await unpublished(each_platform) == 0 and [await each.look() for each in witnesses] == [last, last]

        async def heard_of_everything() -> bool:
            feed = await admin.json("/admin/cache/feed")
            heard = {each["service"]: each["position"] for each in feed["services"]}
            return heard == await last_numbers(each_platform)

        async def answered_from_the_cache_again() -> bool:
            answers = [await each.person.read(each.path, carry=False) for each in witnesses]
            return all("hit; detail=l" in answer.headers["Cache-Status"] for answer in answers)

        async def copies_followed() -> bool:
            device = await admin.ask("device", "GET", f"/v1/devices/{customer.ids['device']}")
            return device["ownerName"] == f"Number {last}"

        await eventually(everybody_knows)
        await eventually(copies_followed)
        await eventually(heard_of_everything)
        await eventually(answered_from_the_cache_again)
        looks = sum(witnesses[0].seen.values()), sum(witnesses[1].seen.values())
        print(f"\n{fault.__name__}: {len(renames.committed)} renames, {looks[0]} + {looks[1]} reads, 0 stale as fresh")
        assert not [stale for each in witnesses for stale in each.stale]
