"""A platform under the eyes of the checker, where things happen by hand."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from cloudphone_cache.feed import stream_of
from cloudphone_deploy.consistency.connection import Line, Reply, request
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.oracle import name_of, request_id_of
from cloudphone_deploy.consistency.probes import Probes
from cloudphone_deploy.consistency.run import Run
from cloudphone_deploy.consistency.scene import Scene, Thing
from cloudphone_deploy.consistency.showing import Showing
from cloudphone_deploy.consistency.writers import Pace
from tests.conditions import eventually

BROKEN, WHOLE = "bff-admin", "bff-admin-2"
LOOKS = 100
WITHIN = 120.0
"""Seconds for what is bound to happen, on a machine that stands still now and then."""
YOUNG_MS = 2000
_numbers = itertools.count(1000)


class Gate(Pace):
    """A pace that stands still while it is shut, as it is at first."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.open = asyncio.Event()

    async def turn(self) -> None:
        await super().turn()
        while not self.open.is_set():
            await self.open.wait()


class Eyes(Probes):
    """Probes that are closed at first, so that nobody reads while things are brought about."""

    def __init__(self, *args: Any, pace: float, **named: Any) -> None:
        super().__init__(*args, pace=pace, **named)
        self._pace = self._gate = Gate(pace)
        self._looking = 0

    async def _look(self, *args: Any, **named: Any) -> tuple[Reply, Showing] | None:
        self._looking += 1
        try:
            return await super()._look(*args, **named)
        finally:
            self._looking -= 1

    async def close(self) -> None:
        """Nothing of theirs is under way any more."""
        self._gate.open.clear()
        await eventually(lambda: not self._looking, within=WITHIN)

    def open(self) -> None:
        self._gate.open.set()

    async def look(
        self, process: str, path: str, floor: Mapping[str, int] | None = None, **headers: str
    ) -> tuple[Reply, Showing] | None:
        """One more look. `floor`: what a session may not fall behind, by short names. None without a usable answer."""
        bff = next(bff for bff in self._bffs if bff.name == process)
        content = request("GET", path, self._scene.administrator.token, **headers)
        line = Line(bff.url)
        try:
            async with asyncio.timeout(2 * WITHIN):
                return await super()._look(bff, line, path, content, floor=floor)
        except TimeoutError:
            return None
        finally:
            line.close()


class World:
    """One device is looked at."""

    def __init__(self, laboratory: Laboratory, scene: Scene) -> None:
        self.laboratory = laboratory
        self.scene = scene
        self.device, self.other = scene.customers[0].devices
        self.screen = f"/admin/devices/{self.device.id}"
        self.key = f"device:full:{self.device.id}"
        self.run: Run | None = None
        token = {"Authorization": f"Bearer {scene.administrator.token}"}
        self.http = httpx.AsyncClient(timeout=60, headers=token)

    def watch(self, run: Run) -> None:
        self.run = run

    async def ready(self) -> None:
        """Waits until the run has begun."""
        await eventually(lambda: self.run is not None, within=WITHIN)

    @property
    def eyes(self) -> Eyes:
        assert self.run and isinstance(self.run.probes, Eyes)
        return self.run.probes

    async def rename(self, thing: Thing) -> int:
        """Returns the change's number, given by the relay."""
        request_id = await eventually(lambda: self._renamed(thing), within=WITHIN)
        connection: Any = await asyncpg.connect(self.laboratory.database_url("device"), timeout=WITHIN)
        try:
            numbered = "SELECT seq FROM device.outbox WHERE headers ->> 'correlation_id' = $1"
            return await eventually(lambda: connection.fetchval(numbered, request_id), within=WITHIN)
        finally:
            await connection.close()

    async def _renamed(self, thing: Thing) -> str | None:
        """The request's id; None when it may not have been made."""
        number = next(_numbers)
        named = {"X-Request-Id": request_id_of(thing.code, number)}
        url, body = self.laboratory.url(thing.service) + thing.path, {"name": name_of(thing.code, number)}
        with suppress(httpx.HTTPError):
            if (await self.http.patch(url, json=body, headers=named)).status_code == 200:
                return named["X-Request-Id"]
        return None

    async def fed(self, seq: int, *, beat: bool = False) -> str:
        """Waits until the feed has this change, or a heartbeat of its number; returns the item's id."""
        first = f"{seq}-{int(beat)}"
        async with self.laboratory.redis() as redis:
            found = await eventually(lambda: redis.xrange(stream_of("device"), min=first, count=1), within=WITHIN)
        return found[0][0].decode()

    async def fed_anew(self) -> None:
        """Waits until the feed has something that it has not now. Who waited for news was given that, and has not asked
        for more if he stands still."""
        async with self.laboratory.redis() as redis:
            before = await redis.xinfo_stream(stream_of("device"))
            first = before["last-generated-id"].decode()
            await eventually(lambda: redis.xrange(stream_of("device"), min=f"({first}", count=1), within=WITHIN)

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
            await eventually(lambda process=process: self._from_own_layer(process), within=WITHIN, every=0.05)

    async def _from_own_layer(self, process: str) -> bool:
        found = await self.eyes.look(process, self.screen)
        return found is not None and b"hit; detail=l1" in found[0].header(b"cache-status")

    async def stored(self) -> None:
        """Waits until Redis has the device's screen as it is now, composed by the whole process."""
        answer = await self.http.get(self.laboratory.url(self.device.service) + self.device.path)
        name = answer.json()["data"]["name"].encode()

        async def there() -> bool:
            await self.eyes.look(WHOLE, self.screen)
            for _ in range(20):
                if name in (await redis.get(self.key) or b""):
                    return True
                await asyncio.sleep(0.05)
            await self.http.delete(f"{self.laboratory.url(WHOLE)}/admin/cache/view", params={"key": self.key})
            return False

        async with self.laboratory.redis() as redis:
            await eventually(there, within=WITHIN)

    async def heard(self, seq: int, *processes: str) -> None:
        """Waits until these have heard the change, and claim for what they answer to have heard all up to a moment at
        which everybody could read it."""
        assert self.run
        await self.judged()
        told_ms = time.time() * 1000
        for process in processes:
            await eventually(lambda process=process: self._has_heard(process, seq, told_ms), within=WITHIN)

    async def _has_heard(self, process: str, seq: int, told_ms: float) -> bool:
        try:
            answer = await self.http.get(f"{self.laboratory.url(process)}/admin/cache/feed")
        except httpx.HTTPError:
            return False
        feeds = answer.json()["services"] if answer.status_code == 200 else []
        young = [each for each in feeds if each["ageMs"] is not None and each["ageMs"] < YOUNG_MS]
        return len(young) == len(feeds) and any(
            each["service"] == "device" and each["position"] >= seq and each["asOfMs"] > told_ms + 1 for each in young
        )

    async def looked(self, *processes: str) -> None:
        """Looks at these, then lets everybody read for a while. All of it is judged."""
        await asyncio.gather(*(self.look_at(process) for process in processes))
        before = self.eyes.counts.answers
        self.eyes.open()
        await eventually(lambda: self.eyes.counts.answers >= before + LOOKS, within=WITHIN)
        await self.judged()

    async def look_at(self, process: str, times: int = 3) -> None:
        for _ in range(times):
            await eventually(lambda: self.eyes.look(process, self.screen), within=WITHIN)

    async def judged(self) -> None:
        """Waits until all that was seen before now is judged."""
        assert self.run
        assert await self.run.oracle.reaches(time.time(), within=WITHIN), "the databases gave no answer"
        self.run.verdict.judge(self.run.oracle.horizon)

    @property
    def caught(self) -> set[str]:
        """Processes in whose answers violations were found so far."""
        assert self.run
        return {violation.process for violation in self.run.verdict.violations}

    @contextmanager
    def fills_held(self) -> Iterator[Path]:
        """Fills of the device's screen wait before they store; the file is there once one does."""
        held, composed, joined = (self.laboratory.folder.path / name for name in ("held", "composed", "joined"))
        composed.unlink(missing_ok=True)
        joined.unlink(missing_ok=True)
        held.write_text(self.key)
        try:
            yield composed
        finally:
            held.unlink()

    def joined(self, request: str) -> bool:
        """Whether this request waits for a fill that is held."""
        path = self.laboratory.folder.path / "joined"
        return path.exists() and request in path.read_text()

    async def write_through(self, process: str) -> tuple[str, dict[str, int]] | None:
        """The device renamed by a session: its token, and what it may not fall behind. None without an answer."""
        number, code = next(_numbers), self.device.code
        named = {"X-Request-Id": request_id_of(code, number)}
        url = self.laboratory.url(process) + self.screen
        with suppress(httpx.HTTPError):
            answer = await self.http.patch(url, json={"name": name_of(code, number)}, headers=named)
            if answer.status_code == 200:
                return answer.headers["Fresh-After"], {code: number}
        return None

    async def start_again(self, process: str, without: str | None = None) -> None:
        """One that lacks nothing, and did not before, may go on."""
        part = self.laboratory.processes[process]
        words = part.command[part.command.index("serve") :]
        wanted = ["without", without, *words] if without else words
        if part.command != wanted or without not in (None, "slowly"):
            await part.restart(wanted)

    @contextmanager
    def standing_still(self, *names: str) -> Iterator[None]:
        parts = [self.laboratory.processes[name] for name in names]
        for part in parts:
            part.stop()
        try:
            yield
        finally:
            for part in parts:
                part.go_on()


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
