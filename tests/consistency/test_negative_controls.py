"""The checker sees whatever is missing from the cache's protocol.

One process has a part left out, the others are whole: what happens to all makes the one stale, and none of the others.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from cloudphone_cache.feed import stream_of
from cloudphone_deploy.consistency import lost_data, probes, run, scene, writers
from cloudphone_deploy.consistency.connection import request
from cloudphone_deploy.consistency.laboratory import SERVICES, Laboratory
from cloudphone_deploy.consistency.oracle import name_of, request_id_of
from cloudphone_deploy.consistency.result import Result
from cloudphone_deploy.consistency.run import Run, check
from cloudphone_deploy.consistency.scene import Scene, Stage, Thing
from tests.conditions import eventually

pytestmark = pytest.mark.anyio

BROKEN, WHOLE = "bff-admin", "bff-admin-2"
LOOKS = 300
_numbers = itertools.count(1000)


class World:
    """A quiet platform under the eyes of the checker, where things happen by hand. One device is looked at."""

    def __init__(self, laboratory: Laboratory, scene: Scene) -> None:
        self.laboratory = laboratory
        self.scene = scene
        self.device, self.other = scene.customers[0].devices
        self.run: Run | None = None
        token = {"Authorization": f"Bearer {scene.administrator.token}"}
        self.http = httpx.AsyncClient(timeout=30, headers=token)

    def watch(self, run: Run) -> None:
        self.run = run

    async def rename(self, thing: Thing) -> int:
        """Returns the change's number, given by the relay."""
        number = next(_numbers)
        named = {"X-Request-Id": request_id_of(thing.code, number)}
        answer = await self.http.patch(
            self.laboratory.url(thing.service) + thing.path, json={"name": name_of(thing.code, number)}, headers=named
        )
        assert answer.status_code == 200, answer.text
        connection: Any = await asyncpg.connect(self.laboratory.database_url("device"))
        try:
            numbered = "SELECT seq FROM device.outbox WHERE headers ->> 'correlation_id' = $1"
            return await eventually(lambda: connection.fetchval(numbered, named["X-Request-Id"]), within=30)
        finally:
            await connection.close()

    async def fed(self, seq: int, *, beat: bool = False) -> str:
        """Waits until the feed has this change, or a heartbeat of its number; returns the item's id."""
        first = f"{seq}-{int(beat)}"
        async with self.laboratory.redis() as redis:
            found = await eventually(lambda: redis.xrange(stream_of("device"), min=first, count=1), within=30)
        return found[0][0].decode()

    async def put(self, service: str, item: str, fields: dict[str, int]) -> None:
        """Into the feed, by hand."""
        async with self.laboratory.redis() as redis:
            await redis.xadd(stream_of(service), fields, id=item)

    async def trim(self, first: str) -> None:
        async with self.laboratory.redis() as redis:
            await redis.xtrim(stream_of("device"), minid=first, approximate=False)

    async def held(self, *processes: str) -> None:
        """Waits until these have the device in their own layer."""
        for process in processes:
            url = f"{self.laboratory.url(process)}/admin/devices/{self.device.id}"

            async def from_own_layer(url: str = url) -> bool:
                answer = await self.http.get(url)
                return "hit; detail=l1" in answer.headers.get("Cache-Status", "")

            await eventually(from_own_layer, within=30, every=0.05)

    async def looked(self, count: int = LOOKS) -> None:
        """Waits until so many more answers were seen."""
        await eventually(lambda: self.run and self.run.probes, within=30)
        assert self.run and self.run.probes
        before = self.run.probes.counts.answers
        probes = self.run.probes
        await eventually(lambda: probes.counts.answers >= before + count, within=60)

    async def heard(self, process: str, seq: int) -> None:
        """Waits until this process has heard the change."""

        async def position() -> bool:
            feed = (await self.http.get(f"{self.laboratory.url(process)}/admin/cache/feed")).json()
            return any(each["service"] == "device" and each["position"] >= seq for each in feed["services"])

        await eventually(position, within=60)

    @contextmanager
    def fills_held(self) -> Iterator[Path]:
        """Fills of the device's view wait before they store; the file is there once one does."""
        held, composed = (self.laboratory.folder.path / name for name in ("held", "composed"))
        composed.unlink(missing_ok=True)
        held.write_text(self.device.id)
        try:
            yield composed
        finally:
            held.unlink()

    async def write_through(self, process: str) -> tuple[str, dict[str, int]]:
        """The device renamed by a session: its token, and what it may not fall behind."""
        number, code = next(_numbers), self.device.code
        url = f"{self.laboratory.url(process)}/admin/devices/{self.device.id}"
        named = {"X-Request-Id": request_id_of(code, number)}
        answer = await self.http.patch(url, json={"name": name_of(code, number)}, headers=named)
        assert answer.status_code == 200, answer.text
        return answer.headers["Fresh-After"], {code: number}

    async def read_in_session(self, process: str, token: str, floor: dict[str, int]) -> None:
        assert self.run and self.run.probes
        eyes, path = self.run.probes, f"/admin/devices/{self.device.id}"
        bff = next(bff for bff in eyes._bffs if bff.name == process)
        content = request("GET", path, self.scene.administrator.token, Fresh_After=token)
        await eyes._look(bff, eyes._line(bff), path, content, floor=floor)

    async def start_again(self, process: str, without: str | None = None) -> None:
        part = self.laboratory.processes[process]
        words = part.command[part.command.index("serve") :]
        await part.restart(["without", without, *words] if without else words)


Play = Callable[[World], Awaitable[None]]


class ByHand:
    """Faults as the play makes them."""

    def __init__(self, play: Callable[[], Awaitable[None]]) -> None:
        self.log: list[Any] = []
        self.current: str | None = None
        self._play = play

    async def run(self, until: float) -> None:
        self.current = "by hand"
        await self._play()
        self.current = None


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


@pytest.fixture
async def world(laboratory: Laboratory, stage: Scene, monkeypatch: pytest.MonkeyPatch) -> Any:
    class Ready:
        def __init__(self, *_: object) -> None: ...

        async def make(self) -> Scene:
            return stage

    monkeypatch.setattr(run, "Stage", Ready)
    monkeypatch.setattr(writers, "SHARES", {})
    monkeypatch.setattr(probes, "SESSIONS", 0)
    world = World(laboratory, stage)
    yield world
    await world.http.aclose()


async def checked(world: World, play: Play) -> Result:
    async def begin() -> None:
        await world.looked(20)
        await play(world)

    return await check(
        world.laboratory, seconds=0.1, faults=ByHand(begin), rate=0, readers=8, pace=400, progress=world.watch
    )


def caught_in(result: Result) -> set[str]:
    return {violation.process for violation in result.violations}


async def hole(world: World) -> None:
    """A change is trimmed from the feed while both stand still."""
    both = [world.laboratory.processes[name] for name in (BROKEN, WHOLE)]
    await world.held(BROKEN, WHOLE)
    for process in both:
        process.stop()
    try:
        await world.rename(world.device)
        after = await world.rename(world.other)
        await world.fed(after)
        await world.trim(f"{after}-0")
    finally:
        for process in both:
            process.go_on()
    await world.looked()


async def out_of_order(world: World) -> None:
    """The feed's writer appends a later change first, and finds that there is no room for the earlier one."""
    await world.held(BROKEN, WHOLE)
    writer = world.laboratory.processes["cache-worker"]
    writer.stop()
    try:
        await world.rename(world.device)
        after = await world.rename(world.other)
        await world.put("device", f"{after}-0", {f"device:{world.other.id}": after})
    finally:
        writer.go_on()
    await world.fed(after, beat=True)
    await world.looked()


async def begins_with_a_heartbeat(world: World) -> None:
    """What a new process first hears is the heartbeat after a change; what it finds was composed just before that."""
    everybody = world.laboratory.processes
    others = [everybody[name] for name in everybody if name.startswith("bff-") and name not in (BROKEN, WHOLE)]
    await everybody[WHOLE].kill()
    await everybody[BROKEN].kill()
    async with world.laboratory.redis() as redis:
        for key in [key async for key in redis.scan_iter(match="device:*")]:
            await redis.delete(key)
    await everybody[BROKEN].start()
    await world.held(BROKEN)
    await everybody[BROKEN].kill()
    for process in others:
        process.stop()
    try:
        lost = await world.rename(world.device)
        await world.trim(await world.fed(lost, beat=True))
        await everybody[BROKEN].start()
        await world.held(BROKEN)
        await everybody[WHOLE].start()
    finally:
        for process in others:
            process.go_on()
    await world.looked()


async def overtaking_heartbeat(world: World) -> None:
    """A heartbeat stands in the feed where the change that it names should."""
    await world.held(BROKEN, WHOLE)
    writer = world.laboratory.processes["cache-worker"]
    writer.stop()
    try:
        seq, t_ms = await world.rename(world.device), int(time.time() * 1000)
        await world.put("device", f"{seq}-{t_ms}", {"t": t_ms})
    finally:
        writer.go_on()
    await world.looked()


async def old_heartbeats(world: World) -> None:
    """Heartbeats arrive late, one by one, and the change that followed them has not arrived yet."""
    await world.held(BROKEN, WHOLE)
    writer = world.laboratory.processes["cache-worker"]
    writer.stop()
    try:
        async with world.laboratory.redis() as redis:
            streams = {service: await redis.xinfo_stream(stream_of(service)) for service in SERVICES}
        await world.rename(world.device)
        for late in range(1, 6):
            for service in SERVICES:
                seq, _, t_ms = streams[service]["last-generated-id"].decode().partition("-")
                await world.put(service, f"{seq}-{int(t_ms) + late}", {"t": int(t_ms) + late})
            await world.looked(60)
    finally:
        writer.go_on()


async def silence(world: World) -> None:
    """Nothing is heard for longer than may be."""
    await world.held(BROKEN, WHOLE)
    writer = world.laboratory.processes["cache-worker"]
    writer.stop()
    try:
        await world.rename(world.device)
        committed = time.monotonic()
        await eventually(lambda: time.monotonic() > committed + run.allowed_with(True) + 0.2, within=10)
        await world.looked(150)
    finally:
        writer.go_on()


async def change_during_a_fill(world: World) -> None:
    """A fill has read, and not stored yet, when the next change is heard."""
    await world.held(BROKEN)
    with world.fills_held() as composed:
        await world.rename(world.device)
        await eventually(composed.exists, within=60)
        await world.heard(BROKEN, await world.rename(world.device))
    await world.looked()


async def write_during_a_fill(world: World) -> None:
    """A fill has read when a session writes; its next read joins that fill."""
    assert world.run
    verdict = world.run.verdict
    for _ in range(3):
        with world.fills_held() as composed:
            await world.rename(world.device)
            await eventually(composed.exists, within=60)
            token, floor = await world.write_through(BROKEN)
            before = verdict.session_reads
            read = asyncio.create_task(world.read_in_session(BROKEN, token, floor))
            await world.looked(60)
        await read
        await eventually(lambda before=before: verdict.session_reads > before, within=60)


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
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
async def test_what_a_process_lacks_shows_in_what_it_answers(world: World, without: str, play: Play) -> None:
    await world.start_again(BROKEN, without)
    await world.laboratory.until_healthy()
    result = await checked(world, play)
    assert caught_in(result) == {BROKEN}, [*result.failures, *result.violations[:3]]


@pytest.mark.parametrize(
    ("without", "play"),
    [
        ("slowly", change_during_a_fill),
        ("proofs", change_during_a_fill),
        ("slowly", write_during_a_fill),
        ("second_looks", write_during_a_fill),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
async def test_what_changes_during_a_fill(world: World, without: str, play: Play) -> None:
    """The other process is away, or it might fill in place of this one."""
    other = world.laboratory.processes[WHOLE]
    await asyncio.gather(world.start_again(BROKEN, without), other.kill())
    try:
        result = await checked(world, play)
    finally:
        await other.start()
    expected = set() if without == "slowly" else {BROKEN}
    assert caught_in(result) == expected, [*result.failures, *result.violations[:3]]


@pytest.fixture
def behind(laboratory: Laboratory) -> Iterator[Any]:
    """The file that holds the replica back."""
    path = laboratory.folder.path / "lagging"
    yield path
    path.unlink(missing_ok=True)


async def test_a_replica_that_does_not_tell_its_number(
    world: World, behind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lags behind what a process that begins on a trimmed feed has heard. Lists are as their owner gives them."""
    monkeypatch.setattr(probes, "LIST_SHARE", 0.0)
    services, bff = world.laboratory.processes["services"], world.laboratory.processes[WHOLE]
    words = services.command[services.command.index("serve") :]
    await services.restart(["without", "replicas_number", *words])
    await world.start_again(WHOLE)
    await world.laboratory.until_healthy()

    async def lag(world: World) -> None:
        behind.touch()
        await world.http.get(world.laboratory.url("device") + world.device.path)
        lost = await world.rename(world.device)
        heartbeat = await world.fed(lost, beat=True)
        await bff.kill()
        await world.trim(heartbeat)
        await bff.start()
        await world.looked()

    try:
        result = await checked(world, lag)
    finally:
        behind.unlink(missing_ok=True)
        await services.restart(words)
    assert caught_in(result) == {WHOLE}, [*result.failures, *result.violations[:3]]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
async def test_a_database_restored_without_a_new_incarnation(world: World, announced: bool) -> None:
    """Numbers that were announced are given to other changes."""
    await world.start_again(BROKEN)
    await world.laboratory.until_healthy()

    async def back_in_time(world: World) -> None:
        await lost_data.back_up(world.laboratory, "device")
        await world.fed(await world.rename(world.device))
        await world.held(BROKEN, WHOLE)
        await lost_data.bring_back(world.laboratory, "device", announced=announced)
        await world.rename(world.device)
        await world.laboratory.until_healthy()
        await world.looked()

    try:
        result = await checked(world, back_in_time)
    finally:
        if not announced:
            await world.laboratory.cloudphone("restored", "device")
    assert bool(caught_in(result)) == (not announced), [*result.failures, *result.violations[:3]]
