"""Redis or a service away: what can be said is said, and labelled."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from anyio import to_thread

from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats
from tests.servers import Server, says

pytestmark = pytest.mark.anyio

SHOWN = 30


@asynccontextmanager
async def away(*parts: Server) -> AsyncIterator[None]:
    """Killed, and started again at the end of the block."""
    for part in parts:
        part.kill()
    try:
        yield
    finally:
        await asyncio.gather(*(to_thread.run_sync(part.start) for part in parts))


async def _answered_by_composing(person: Person, paths: Sequence[str]) -> list[float]:
    """Milliseconds of each read; none of them from the cache."""
    took: list[float] = []
    for path in paths:
        begun = time.perf_counter()
        answer = await person.read(path, carry=False)
        took.append((time.perf_counter() - begun) * 1000)
        assert answer.status_code == 200, answer.text
        assert "hit" not in answer.headers["Cache-Status"], answer.headers["Cache-Status"]
    return took


async def _cached_again(person: Person, path: str) -> None:
    async def hit() -> bool:
        return "hit; detail=l" in (await person.read(path, carry=False)).headers["Cache-Status"]

    await eventually(hit, every=0.05)


async def _not_from_the_cache(person: Person, path: str) -> None:
    async def composed() -> bool:
        return "hit" not in (await person.read(path, carry=False)).headers["Cache-Status"]

    await eventually(composed, every=0.05)


async def _degraded(person: Person, path: str) -> httpx.Response:
    """For two seconds the feed's age still proves the view as it was."""

    async def labelled() -> httpx.Response | None:
        answer = await person.read(path, carry=False)
        return answer if "detail=degraded" in answer.headers["Cache-Status"] else None

    return await eventually(labelled, every=0.05)


async def test_without_redis_both_bffs_answer_as_fast_as_composing_and_cache_again_when_it_is_back_empty(
    platform: OnNats, admin: Staff, customer: Person
) -> None:
    me = customer.ids["user"]
    devices = [(await admin.new_device(f"Phone {number}", owner=me))["id"] for number in range(SHOWN)]
    reads = {
        "bff-admin": (admin, [f"/admin/devices/{each}" for each in devices]),
        "bff-user": (customer, [f"/my/devices/{each}" for each in devices]),
    }
    composing = {bff: await _answered_by_composing(*read) for bff, read in reads.items()}
    async with away(platform.store):
        for person, paths in reads.values():
            # For two seconds the feed's age still proves what a process holds itself.
            await _not_from_the_cache(person, paths[0])
        without = {bff: await _answered_by_composing(*read) for bff, read in reads.items()}
        await admin.write("PATCH", f"/admin/users/{me}", {"name": "Renamed without Redis"})
        assert (await customer.json("/my/profile", carry=False))["profile"]["name"] == "Renamed without Redis"
    for bff in reads:
        # The quicker quarter: a busy machine holds up some of either.
        usual, worse = (statistics.quantiles(took[bff], n=4)[0] for took in (composing, without))
        print(
            f"\n{bff}: composing p25 {usual:.1f} ms, without Redis p25 {worse:.1f} ms, max {max(without[bff]):.1f} ms"
        )
        assert worse < 2 * usual + 50
    for person, paths in reads.values():
        await _cached_again(person, paths[0])
    full = await admin.json(f"/admin/devices/{devices[0]}", carry=False)
    assert full["owner"]["name"] == "Renamed without Redis"


async def test_a_redis_that_comes_back_with_old_data_brings_nothing_stale_back(
    platform: OnNats, admin: Staff, customer: Person
) -> None:
    me, path = customer.ids["user"], f"/admin/devices/{customer.ids['device']}"
    looks = [(admin, at + path, "owner") for at in platform.urls("bff-admin")] + [(customer, "/my/profile", "profile")]

    def told(command: str, answer: bytes) -> bool:
        return says(platform.store.port, f"{command}\r\n".encode(), answer)

    for number in range(3):
        await _cached_again(admin, path)
        await _cached_again(customer, "/my/profile")
        await eventually(lambda: told(f"EXISTS my:profile:{me}", b":1"))
        await eventually(lambda: told("SAVE", b"+OK"))
        name = f"Since the snapshot {number}"
        await admin.ask("user", "PATCH", f"/v1/users/{me}", {"name": name})

        async def shown(name: str = name) -> bool:
            names = [(await who.json(where, carry=False))[whose]["name"] for who, where, whose in looks]
            return set(names) == {name}

        await eventually(shown)
        await _cached_again(admin, path)
        platform.store.kill()
        await to_thread.run_sync(platform.store.start)
        await eventually(lambda: told(f"EXISTS my:profile:{me}", b":1"))  # as it was loaded from the snapshot
        with platform.with_more("bff-admin", 3) if number == 2 else platform.with_more("bff-admin", 2) as processes:
            ends = time.monotonic() + 2.5
            while time.monotonic() < ends:
                for at in processes:
                    assert (await admin.json(path, at=at, carry=False))["owner"]["name"] == name
                assert (await customer.json("/my/profile", carry=False))["profile"]["name"] == name
        await _cached_again(admin, path)
    (platform.store.folder / "dump.rdb").unlink()


async def test_billing_away_shows_the_last_view_labelled_or_null_and_a_device_that_does_not_exist_is_404_all_the_while(
    platform: OnNats, admin: Staff, customer: Person
) -> None:
    seen, unseen = customer.ids["device"], (await admin.new_device(owner=customer.ids["user"]))["id"]
    absent: list[int] = []

    async def ask_for_what_does_not_exist() -> None:
        while True:
            absent.append((await admin.read(f"/admin/devices/{uuid4()}", carry=False)).status_code)
            absent.append((await customer.read(f"/my/devices/{uuid4()}", carry=False)).status_code)
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask_for_what_does_not_exist())
    known = {
        f"/admin/devices/{seen}": (await admin.json(f"/admin/devices/{seen}"))["usage"],
        f"/my/devices/{seen}": (await customer.json(f"/my/devices/{seen}"))["usage"],
    }
    assert all(known.values())
    async with away(platform.processes["billing"]):
        for person, view in ((admin, "/admin/devices/"), (customer, "/my/devices/")):
            stale = await _degraded(person, view + seen)
            assert (stale.status_code, stale.json()["usage"]) == (200, known[view + seen])
            again = await person.read(view + seen, carry=False)
            assert "detail=degraded" in again.headers["Cache-Status"]
            label = stale.json()["degraded"][0]
            assert (label["field"], label["reason"]) == ("usage", "unavailable")
            assert label["ageMs"] > 0
            none = await person.read(view + unseen, carry=False)
            assert (none.status_code, none.json()["usage"]) == (200, None)
            assert none.headers["X-View-Complete"] == "false"
            assert none.json()["degraded"] == [{"field": "usage", "reason": "unavailable"}]
        await admin.write("PATCH", f"/admin/devices/{seen}", {"name": "Renamed while billing is away"})
        after = await admin.json(f"/admin/devices/{seen}")
        assert after["device"]["name"] == "Renamed while billing is away"
    reads = [(admin, "/admin/devices/"), (customer, "/my/devices/")]
    for person, path in [(person, view + device) for person, view in reads for device in (seen, unseen)]:
        await _cached_again(person, path)
        whole = await person.read(path)
        assert whole.headers["X-View-Complete"] == "true"
        assert whole.json()["usage"]
        assert "degraded" not in whole.json()
    await eventually(lambda: len(absent) > 20 or asking.done())
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert set(absent) == {404}, absent
