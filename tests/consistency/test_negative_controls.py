"""The checker sees whatever is missing from the cache's protocol.

One process has a part left out, the others are whole: what happens to all makes the one stale, and none of the others.
Nobody reads while something is brought about, so that it does not matter how long that takes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloudphone_cache.feed import stream_of
from cloudphone_deploy.consistency import lost_data, probes, run, scene, verdict, writers
from cloudphone_deploy.consistency.connection import Line
from cloudphone_deploy.consistency.laboratory import SERVICES, Laboratory
from cloudphone_deploy.consistency.result import Result
from cloudphone_deploy.consistency.run import check
from cloudphone_deploy.consistency.scene import Scene, Stage
from tests.conditions import eventually

from .world import BROKEN, WHOLE, WITHIN, ByHand, Eyes, Play, World

pytestmark = pytest.mark.anyio

PLAYS = 3
"""A machine that stands still for 2 s just before somebody looks hides what is left out: the feed is too old to prove
anything, and what was brought about is gone."""
SIGNED_IN_SECONDS = 200


@pytest.fixture(scope="module")
async def stage(laboratory: Laboratory) -> Scene:
    """One customer with two devices, under names that no other test uses."""
    patch = pytest.MonkeyPatch()
    for name, count in (("CUSTOMERS", 1), ("DEVICES_EACH", 2), ("PLANS", 1)):
        patch.setattr(scene, name, count)
    made = Stage(laboratory.bff_admins[0], laboratory.bff_users[0], laboratory.administrator())
    made._numbers = dict.fromkeys("udp", 900)
    try:
        return await made.make()
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def signed_in() -> dict[str, float]:
    return {"at": time.monotonic()}


@pytest.fixture
async def world(
    laboratory: Laboratory, stage: Scene, signed_in: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> Any:
    class Ready:
        def __init__(self, *_: object) -> None: ...

        async def make(self) -> Scene:
            return stage

    monkeypatch.setattr(run, "Stage", Ready)
    monkeypatch.setattr(run, "Probes", Eyes)
    monkeypatch.setattr(verdict, "KEPT_VIOLATIONS", 100_000)
    monkeypatch.setattr(writers, "SHARES", {})
    monkeypatch.setattr(probes, "SESSIONS", 0)
    if time.monotonic() > signed_in["at"] + SIGNED_IN_SECONDS:
        await sign_in(laboratory, stage)
        signed_in["at"] = time.monotonic()
    world = World(laboratory, stage)
    yield world
    await world.http.aclose()


async def sign_in(laboratory: Laboratory, stage: Scene) -> None:
    accounts = [
        (stage.administrator, laboratory.bff_admins),
        *((each, laboratory.bff_users) for each in stage.customers),
    ]
    for account, bffs in accounts:
        line = Line(bffs[0])
        await account.sign_in(line)
        line.close()


async def checked(world: World, play: Play, *, until: Collection[str] = ()) -> Result:
    """With eyes that the play opens. It is played again unless violations are seen in `until`."""

    async def begin() -> None:
        await world.ready()
        for _ in range(PLAYS):
            await world.eyes.close()
            await play(world)
            if world.caught.issuperset(until):
                break

    result = await check(
        world.laboratory, seconds=3600, faults=ByHand(begin), rate=0, readers=8, pace=400, progress=world.watch
    )
    assert not result.cut_short, result.cut_short
    return result


def caught_in(result: Result) -> set[str]:
    return {violation.process for violation in result.violations}


def evidence(result: Result) -> str:
    first = {(each.process, each.kind): each for each in reversed(result.violations)}
    return "\n".join([*result.failures, f"{result.sources}, {result.statuses}", *map(str, first.values())])


async def hole(world: World) -> None:
    """A change is trimmed from the feed while both stand still."""
    await world.held(BROKEN, WHOLE)
    with world.standing_still(BROKEN, WHOLE):
        await world.fed_anew()
        await world.rename(world.device)
        after = await world.rename(world.other)
        await world.fed(after)
        await world.trim(f"{after}-0")
    await world.heard(after, BROKEN, WHOLE)
    await world.looked(BROKEN, WHOLE)


async def out_of_order(world: World) -> None:
    """The feed's writer appends a later change first, and finds that there is no room for the earlier one."""
    await world.held(BROKEN, WHOLE)
    with world.standing_still("cache-worker"):
        await world.rename(world.device)
        after = await world.rename(world.other)
        await world.put("device", f"{after}-0", {f"device:{world.other.id}": after})
    await world.heard(after, BROKEN, WHOLE)
    await world.looked(BROKEN, WHOLE)


async def begins_with_a_heartbeat(world: World) -> None:
    """What a new process first hears is the heartbeat after a change; what it finds was composed just before that."""
    broken, whole = (world.laboratory.processes[name] for name in (BROKEN, WHOLE))
    await broken.kill()
    await world.heard(await world.rename(world.device), WHOLE)
    await world.stored()
    await whole.kill()
    lost = await world.rename(world.device)
    await world.trim(await world.fed(lost, beat=True))
    await broken.start()
    await world.heard(lost, BROKEN)
    await world.look_at(BROKEN)
    await whole.start()
    await world.heard(lost, WHOLE)
    await world.looked(BROKEN, WHOLE)


async def overtaking_heartbeat(world: World) -> None:
    """A heartbeat stands in the feed where the change that it names should."""
    await world.held(BROKEN, WHOLE)
    with world.standing_still("cache-worker"):
        seq, t_ms = await world.rename(world.device), int(time.time() * 1000)
        await world.put("device", f"{seq}-{t_ms}", {"t": t_ms})
    await world.heard(seq, BROKEN, WHOLE)
    await world.looked(BROKEN, WHOLE)


async def old_heartbeats(world: World) -> None:
    """Heartbeats arrive late, one by one, and the change that followed them has not arrived yet."""
    await world.held(BROKEN, WHOLE)
    with world.standing_still("cache-worker"):
        async with late_heartbeats(world) as position:
            await world.rename(world.device)
            await world.heard(position, BROKEN)
            await world.looked(BROKEN, WHOLE)


@asynccontextmanager
async def late_heartbeats(world: World) -> AsyncIterator[int]:
    """Of every service one now and then, each a millisecond later than the last. Gives the devices' last number."""

    async def last(service: str) -> tuple[int, int]:
        seq, _, t_ms = (await redis.xinfo_stream(stream_of(service)))["last-generated-id"].decode().partition("-")
        return int(seq), int(t_ms)

    async def arrive() -> None:
        while not over.is_set():
            for service in SERVICES:
                seq, t_ms = await last(service)
                await redis.xadd(stream_of(service), {"t": t_ms + 1}, id=f"{seq}-{t_ms + 1}")
            await asyncio.sleep(0.05)

    over = asyncio.Event()
    async with world.laboratory.redis() as redis:
        arriving = asyncio.create_task(arrive())
        try:
            yield (await last("device"))[0]
        finally:
            # Not by cancelling: in Python 3.11 a command that has just been sent goes on all the same.
            over.set()
            await arriving


async def silence(world: World) -> None:
    """Nothing is heard for longer than may be."""
    await world.held(BROKEN, WHOLE)
    with world.standing_still("cache-worker"):
        await world.rename(world.device)
        committed = time.monotonic()
        await eventually(lambda: time.monotonic() > committed + run.allowed_with(True) + 0.1, within=WITHIN)
        await world.looked(BROKEN, WHOLE)


async def change_during_a_fill(world: World) -> None:
    """A fill has read, and not stored yet, when the next change is heard."""

    async def heard_during_a_fill() -> bool:
        with world.fills_held() as composed:
            await world.heard(await world.rename(world.device), BROKEN)
            reading = asyncio.create_task(world.eyes.look(BROKEN, world.screen))
            await eventually(lambda: composed.exists() or reading.done(), within=WITHIN)
            held = composed.exists()
            if held:
                await world.heard(await world.rename(world.device), BROKEN)
        await reading
        return held

    # The other process might fill in place of this one.
    with world.standing_still(WHOLE):
        await eventually(heard_during_a_fill, within=WITHIN)
    await world.looked(BROKEN, WHOLE)


async def write_during_a_fill(world: World) -> None:
    """A fill has read when a session writes; its next read joins that fill."""

    async def read_during_a_fill() -> bool:
        with world.fills_held() as composed:
            await world.heard(await world.rename(world.device), BROKEN)
            reading = asyncio.create_task(world.eyes.look(BROKEN, world.screen))
            await eventually(lambda: composed.exists() or reading.done(), within=WITHIN)
            session = asyncio.create_task(write_and_read(world)) if composed.exists() else None
            if session is not None:
                await eventually(lambda: world.joined("session-read") or session.done(), within=WITHIN)
        await reading
        return session is not None and await session

    with world.standing_still(WHOLE):
        await eventually(read_during_a_fill, within=WITHIN)
    await world.looked(BROKEN, WHOLE)


async def write_and_read(world: World) -> bool:
    """Whether it was answered."""
    written = await world.write_through(BROKEN)
    if written is None:
        return False
    token, floor = written
    named = {"Fresh_After": token, "X_Request_Id": "session-read"}
    return await world.eyes.look(BROKEN, world.screen, floor, **named) is not None


@pytest.mark.parametrize(
    ("without", "play"),
    [
        ("positions", hole),
        ("windows", hole),
        ("windows", out_of_order),
        ("first_heartbeat", begins_with_a_heartbeat),
        ("places_of_heartbeats", overtaking_heartbeat),
        ("times_of_heartbeats", old_heartbeats),
        ("age", silence),
        ("proofs", change_during_a_fill),
        ("second_looks", write_during_a_fill),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
async def test_what_a_process_lacks_shows_in_what_it_answers(world: World, without: str, play: Play) -> None:
    await world.start_again(BROKEN, without)
    result = await checked(world, play, until={BROKEN})
    assert caught_in(result) == {BROKEN}, evidence(result)


@pytest.mark.parametrize("play", [change_during_a_fill, write_during_a_fill], ids=lambda play: play.__name__)
async def test_a_slow_fill_alone_does_no_harm(world: World, play: Play) -> None:
    await world.start_again(BROKEN, "slowly")
    result = await checked(world, play)
    assert result.violations == [], result.failures
    assert result.session_reads or play is change_during_a_fill


@pytest.fixture
def lagging(laboratory: Laboratory) -> Iterator[Callable[[], None]]:
    """Holds the replica back, until the test ends."""
    path = laboratory.folder.path / "lagging"
    yield path.touch
    path.unlink(missing_ok=True)


async def test_a_replica_that_does_not_tell_its_number(
    world: World, lagging: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lags behind what a process that begins on a trimmed feed has heard. Lists are as their owner gives them."""
    monkeypatch.setattr(probes, "LIST_SHARE", 0.0)
    services, bff = world.laboratory.processes["services"], world.laboratory.processes[WHOLE]
    words = services.command[services.command.index("serve") :]
    await services.restart(["without", "replicas_number", *words])
    await world.start_again(BROKEN)

    async def lag(world: World) -> None:
        lagging()
        await world.http.get(world.laboratory.url("device") + world.device.path)
        lost = await world.rename(world.device)
        heartbeat = await world.fed(lost, beat=True)
        await world.laboratory.until_healthy()
        await bff.kill()
        await world.trim(heartbeat)
        await bff.start()
        await world.heard(lost, WHOLE)
        await world.looked(WHOLE)

    try:
        result = await checked(world, lag, until={WHOLE})
    finally:
        await services.restart(words)
        # What was stored is outdated by one more change, which everybody hears.
        await world.rename(world.device)
        await world.laboratory.until_healthy()
    # The others ask the same services, and have heard of what these lack; that the one has not is what deceives it.
    assert WHOLE in caught_in(result), evidence(result)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
async def test_a_database_restored_without_a_new_incarnation(world: World, announced: bool) -> None:
    """Numbers that were announced are given to other changes."""
    await world.start_again(BROKEN)

    async def back_in_time(world: World) -> None:
        await lost_data.back_up(world.laboratory, "device")
        lost = await world.rename(world.device)
        await world.heard(lost, BROKEN, WHOLE)
        await world.held(BROKEN, WHOLE)
        await lost_data.bring_back(world.laboratory, "device", announced=announced)
        given = await world.rename(world.device)
        while given < lost:
            given = await world.rename(world.other)
        await world.heard(given, BROKEN, WHOLE)
        await world.looked(BROKEN, WHOLE)

    try:
        result = await checked(world, back_in_time, until=() if announced else {BROKEN, WHOLE})
    finally:
        if not announced:
            await world.laboratory.cloudphone("restored", "device")
    assert bool(caught_in(result)) == (not announced), evidence(result)
