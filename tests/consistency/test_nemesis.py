"""The nemesis: faults in a sequence that a seed decides, each undone, each leaving the platform well."""

import asyncio
import re
import time
from itertools import islice

import asyncpg
import httpx
import pytest

from cloudphone_cache.feed import stream_of
from cloudphone_deploy.consistency.faults import FAULTS
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.nemesis import Nemesis, Step, plan
from cloudphone_deploy.errors import CommandError
from tests.conditions import eventually

pytestmark = pytest.mark.anyio

TARGETS = {name: ["one", "two", "three"] for name in FAULTS}


def test_the_same_seed_makes_the_same_faults_in_the_same_order() -> None:
    first, again, other = (list(islice(plan(seed, TARGETS), 100)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_every_fault_is_made_once_in_each_round() -> None:
    steps = list(islice(plan(7, TARGETS), 2 * len(FAULTS)))
    for begin in (0, len(FAULTS)):
        assert {step.name for step in steps[begin : begin + len(FAULTS)]} == FAULTS.keys()


def test_every_fault_says_what_it_is() -> None:
    assert all(fault.says.endswith(".") for fault in FAULTS.values())


async def test_a_fault_that_is_none_is_refused_with_the_choice(laboratory: Laboratory) -> None:
    with pytest.raises(CommandError, match=r"no fault 'rain'.*kill-bff"):
        Nemesis(laboratory, 1, ["rain"])


async def test_faults_are_told_of_with_their_times(laboratory: Laboratory) -> None:
    nemesis = Nemesis(laboratory, 1, ["freeze-bff", "flush-redis"])
    began = time.time()
    while not nemesis.log:
        await nemesis.run(time.time() + 8)
    assert nemesis.current is None
    assert all(began <= incident.began < incident.ended for incident in nemesis.log)


async def test_what_was_announced_while_the_feed_had_no_writer_is_got_from_its_owner(laboratory: Laboratory) -> None:
    making = asyncio.create_task(Nemesis(laboratory, 1).make(Step("dropped-messages", "cache-worker", 0.5, 0)))
    try:
        await eventually(lambda: making.done() or not laboratory.part("cache-worker").running, within=60)
        entity, version = await _rename_one(laboratory)
    finally:
        await making

    async def announced() -> bool:
        return any(fields.get(entity) == version for _, fields in await _feed_of_devices(laboratory))

    await eventually(announced, within=30)


async def test_messages_that_come_again_leave_the_feed_as_it_was(laboratory: Laboratory) -> None:
    await _rename_one(laboratory)
    before = await _feed_of_devices(laboratory)
    await Nemesis(laboratory, 1).make(Step("old-messages", laboratory.bus, 0.5, 0))
    after = await _feed_of_devices(laboratory)
    # What is ten minutes old may have been trimmed.
    there = [item for item in before if item in after]
    assert there and after[: len(there)] == there == before[-len(there) :]


@pytest.mark.parametrize("name", ["evicting-redis", "set-back-redis"])
async def test_redis_may_lose_what_it_holds_or_hold_again_what_it_held(laboratory: Laboratory, name: str) -> None:
    await Nemesis(laboratory, 1).make(Step(name, "valkey", 0.5, 0))


async def test_a_clock_that_is_set_wrong_is_so_in_one_process_and_right_again_at_the_end(
    laboratory: Laboratory,
) -> None:
    wrong, right = laboratory.bff_users
    laboratory.set_clock("bff-user", 300)
    try:
        await eventually(lambda: _takes_its_feeds_for_old(wrong), within=60)
        assert not await _takes_its_feeds_for_old(right)
    finally:
        laboratory.set_clock("bff-user", 0)
    await laboratory.until_healthy()


async def test_a_service_is_added_before_the_cache_worker_knows_it(laboratory: Laboratory) -> None:
    await Nemesis(laboratory, 1).make(Step("added-service", "app bff-user-2", 0.5, 0))


async def test_a_restored_database_begins_a_new_incarnation(laboratory: Laboratory) -> None:
    before = await _incarnation(laboratory)
    await Nemesis(laboratory, 1).make(Step("restored-database", "billing", 0.1, 0))
    assert await _incarnation(laboratory) == before + 1


async def _takes_its_feeds_for_old(url: str) -> bool:
    async with httpx.AsyncClient(timeout=60) as http:
        told = re.findall(r"cloudphone_cache_feed_age_seconds{.*} (.*)", (await http.get(f"{url}/metrics")).text)
    return bool(told) and min(map(float, told)) > 200


async def _incarnation(laboratory: Laboratory) -> int:
    connection = await asyncpg.connect(laboratory.database_url("billing"))
    try:
        return await connection.fetchval("SELECT incarnation FROM billing.service_state")
    finally:
        await connection.close()


async def _rename_one(laboratory: Laboratory) -> tuple[bytes, bytes]:
    """A device as an entity, and its new version, as a feed has them."""
    email, password = laboratory.administrator()
    async with httpx.AsyncClient(base_url=laboratory.bff_admins[0], timeout=30) as http:
        token = (await http.post("/auth/login", json={"email": email, "password": password})).json()["accessToken"]
        http.headers["Authorization"] = f"Bearer {token}"
        device = (await http.get("/admin/devices?limit=1")).json()["items"][0]["device"]
        answer = await http.patch(f"/admin/devices/{device['id']}", json={"name": f"Renamed {time.time_ns()}"})
        assert answer.status_code == 200, answer.text
    return f"device:{device['id']}".encode(), str(answer.json()["version"]).encode()


async def _feed_of_devices(laboratory: Laboratory) -> list[tuple[bytes, dict[bytes, bytes]]]:
    async with laboratory.redis() as redis:
        return await redis.xrange(stream_of("device"))
