"""Looks after the phones of running devices: keeps adb connected, sees how they are, notices which have died.

A phone that does not answer is called again, less and less often. That it is silent proves nothing: only when its
container has ended is the device lost, and its run ends when the phone was last heard.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.device import Provider as ProviderName
from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import announce_all
from cloudphone_shared.errors import Unavailable

from ..adb import Adb, AdbServerAway, PhoneRefused, PhoneVitals, State
from ..lifecycle.converging import phone_lost
from ..models import DeviceRow, NodeRow
from ..providers.port import Container, Provider, ProviderRefused
from . import addresses, vitals
from .vitals import Looked

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds. `silence`: how long a phone may say nothing before its provider is asked what became of it.

    A silent phone is called after `first_call`, then after twice as long each time, `last_call` at most. `at_once`
    bounds how many phones are looked at together, and how many silent ones are called.
    """

    round: float = 2.0
    look: float = 10.0
    record: float = 10.0
    silence: float = 30.0
    first_call: float = 0.5
    last_call: float = 30.0
    at_once: int = 64


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A device that runs, as its row has it. One that was only made up to run, as sample data, has no container."""

    device_id: UUID
    run_id: UUID
    container_id: str
    address: str


class _Watched:
    """What is known of one run's phone. Times are of the monotonic clock; `heard_at` begins with the watching."""

    def __init__(self, run: Run, now: float) -> None:
        self.run = run
        self.heard_at = now
        self.recorded_at = now
        self.failures = 0
        self.look_at = self.call_at = 0.0
        self.ask_at = now
        self.looked: tuple[float, PhoneVitals] | None = None
        self.busy = False


class Supervisor:
    """`kind`: of which provider the devices are that it looks after, and `nodes`: on which, by name. None: all."""

    def __init__(
        self,
        database: Database,
        adb: Adb,
        provider: Provider,
        *,
        kind: ProviderName | None = None,
        nodes: Sequence[str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._database, self._adb, self._provider = database, adb, provider
        self._kind: ProviderName | None = kind
        self._nodes, self._pace = nodes, pace or Pace()
        self._watched: dict[UUID, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Those that answer must not wait for those that do not.
        self._looking, self._calling = asyncio.Semaphore(self._pace.at_once), asyncio.Semaphore(self._pace.at_once)
        self._server_away = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._repeat(self._round, self._pace.round))
                work.create_task(self._repeat(self._record, self._pace.record))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, act: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            try:
                await act()
            except Unavailable as error:
                log.warning("phones_not_looked_after", reason=str(error))
            await asyncio.sleep(every)

    async def _round(self) -> None:
        await self._learn()
        states = await self._states()
        now = time.monotonic()
        for watched in list(self._watched.values()):
            if watched.busy:
                continue
            if now - watched.heard_at > self._pace.silence and now >= watched.ask_at:
                watched.ask_at = now + self._pace.silence
                self._spawn(watched, self._ask_provider)
            elif states is None:
                continue
            elif states.get(watched.run.address) == "device":
                if now >= watched.look_at:
                    self._spawn(watched, self._look)
            elif now >= watched.call_at:
                self._spawn(watched, self._call)

    async def _learn(self) -> None:
        """Which devices run now. What is known of a run is kept as long as its phone is the same."""
        present = {run.device_id: run for run in await self._runs()}
        for device_id in self._watched.keys() - present.keys():
            del self._watched[device_id]
        for device_id, run in present.items():
            known = self._watched.get(device_id)
            if known is None or known.run != run:
                self._watched[device_id] = _Watched(run, time.monotonic())

    async def _runs(self) -> list[Run]:
        running = sa.select(
            DeviceRow.id, DeviceRow.run_id, DeviceRow.container_id, DeviceRow.adb_host, DeviceRow.adb_port
        ).where(DeviceRow.state == "running", DeviceRow.container_id.is_not(None), DeviceRow.adb_port.is_not(None))
        if self._kind is not None:
            running = running.where(DeviceRow.provider == self._kind)
        if self._nodes is not None:
            running = running.join(NodeRow, NodeRow.id == DeviceRow.node_id).where(NodeRow.name.in_(self._nodes))
        async with self._database.reading() as session:
            rows = (await session.execute(running)).all()
        return [
            Run(device_id=id_, run_id=run_id, container_id=container, address=f"{host}:{port}")
            for id_, run_id, container, host, port in rows
            if run_id is not None and container is not None
        ]

    async def _states(self) -> dict[str, State] | None:
        """None while the adb server does not answer."""
        if not self._watched:
            return {}
        try:
            states = await self._adb.states()
        except Unavailable as away:
            if not self._server_away:
                log.warning("adb_server_away", reason=away.reason)
            self._server_away = True
            return None
        if self._server_away:
            log.info("adb_server_back")
        self._server_away = False
        return states

    def _spawn(self, watched: _Watched, act: Callable[[_Watched], Awaitable[None]]) -> None:
        async def do() -> None:
            try:
                await act(watched)
            except (Unavailable, PhoneRefused, ProviderRefused) as error:
                log.info("phone_not_reached", device_id=str(watched.run.device_id), reason=str(error))
            except Exception:
                # One phone, which may answer anything, must not end the watch over all others.
                log.exception("phone_not_understood", device_id=str(watched.run.device_id))
            finally:
                watched.busy = False

        watched.busy = True
        task = asyncio.create_task(do())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, watched: _Watched) -> None:
        """How it is. After some looks in vain the connection is given up: the next round calls it anew."""
        async with self._looking:
            watched.look_at = time.monotonic() + self._pace.look * random.uniform(0.8, 1.2)
            try:
                seen = await self._adb.vitals(watched.run.address)
            except AdbServerAway:
                raise
            except Unavailable:
                watched.failures += 1
                if watched.failures >= 3:
                    await self._adb.disconnect(watched.run.address)
                raise
            self._heard(watched)
            watched.looked = (watched.heard_at, seen)

    async def _call(self, watched: _Watched) -> None:
        async with self._calling:
            # Until it has succeeded it has failed.
            pause = min(self._pace.first_call * 2.0 ** min(watched.failures, 20), self._pace.last_call)
            try:
                await self._adb.connect(watched.run.address)
            except AdbServerAway:
                raise
            except (Unavailable, PhoneRefused):
                watched.failures += 1
                watched.call_at = time.monotonic() + pause * random.uniform(0.5, 1.0)
                raise
            if watched.failures:
                log.info("phone_back", device_id=str(watched.run.device_id), after_calls=watched.failures)
            self._heard(watched)
            watched.look_at = 0.0

    def _heard(self, watched: _Watched) -> None:
        watched.heard_at = time.monotonic()
        watched.failures = 0

    async def _ask_provider(self, watched: _Watched) -> None:
        """What became of a phone that has been silent for long. A provider that is away knows nothing either."""
        run = watched.run
        container = await self._provider.inspect(run.container_id)
        if container is None or container.state in ("off", "crashed"):
            async with self._database.writing() as session:
                await self._record_all(session, [watched])
                await announce_all(session, await phone_lost(session, run.device_id, run.run_id, _fate(container)))
            log.warning("phone_lost", device_id=str(run.device_id), fate=_fate(container))
        elif container.address and addresses.written(container.address) != run.address:
            async with self._database.writing() as session:
                await addresses.change(session, run.device_id, run.run_id, container.address)

    async def _record(self) -> None:
        """Who was heard since the last time, all in one statement."""
        heard = [watched for watched in self._watched.values() if watched.heard_at > watched.recorded_at]
        if heard:
            async with self._database.writing() as session:
                await self._record_all(session, heard)

    async def _record_all(self, session: AsyncSession, heard: Sequence[_Watched]) -> None:
        now = time.monotonic()
        for watched in heard:
            watched.recorded_at = watched.heard_at
        await addresses.record_seen(session, {each.run.run_id: now - each.heard_at for each in heard})
        looks = [
            Looked(device_id=each.run.device_id, at=_moment(now - each.looked[0]), vitals=each.looked[1])
            for each in heard
            if each.looked is not None
        ]
        for watched in heard:
            watched.looked = None
        await vitals.record(session, looks)


def _fate(container: Container | None) -> str:
    if container is None:
        return "its container is gone"
    return "its phone crashed" if container.state == "crashed" else "its phone was turned off"


def _moment(seconds_ago: float) -> datetime:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC)
