"""A device service whose devices live: its app, its runner, a farm of simulated phones, a real adb server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cloudphone_core.device.lifecycle.converging import SETTLE
from cloudphone_core.device.lifecycle.sweeping import sweep
from cloudphone_core.device.lifecycle.works import WORK
from cloudphone_core.device.operations.job import Points, nothing_happens
from cloudphone_core.device.operations.runner import Pace, Runner
from cloudphone_core.device.states import TRANSITIONS
from cloudphone_shared.contracts.user import User
from cloudphone_shared.settings import Devices
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.phones import Phones

SETTINGS = Devices(deployment_id="test")
BRISK = Pace(lease=20.0, poll=0.05, backoff=(0.05, 0.2), concurrency=8)
"""Nothing announces here that there is work: the runner looks for it often."""


class Life:
    """What callers, workers and the clock do to devices."""

    def __init__(self, world: World, phones: Phones) -> None:
        self.world, self.phones = world, phones

    def runner(self, *, points: Points = nothing_happens, pace: Pace = BRISK) -> Runner:
        return Runner(
            self.world.database,
            self.phones.provider,
            self.phones.adb,
            WORK,
            SETTLE,
            settings=SETTINGS,
            pace=pace,
            points=points,
        )

    @asynccontextmanager
    async def working(self, *, points: Points = nothing_happens, pace: Pace = BRISK) -> AsyncIterator[None]:
        """A worker, as long as this lasts."""
        task = asyncio.create_task(self.runner(points=points, pace=pace).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def mark(self, device_id: str, word: str) -> None:
        """A file with this word on the device's phone."""
        row = await self.row(device_id)

        async def content() -> AsyncIterator[bytes]:
            yield word.encode()

        await self.phones.adb.push(f"{row.adb_host}:{row.adb_port}", content(), "/sdcard/mark")

    async def marked(self, device_id: str) -> str:
        return await self.shell(device_id, "cat", "/sdcard/mark")

    async def sweep(self) -> int:
        return await sweep(self.world.database, SETTLE)

    async def held(self, owner: User | None = None, name: str = "Phone") -> str:
        """The id of a device that somebody holds."""
        device = await self.world.device(name, owner=owner or self.world.users.user(self.world.tenant))
        return device["id"]

    async def asked(
        self, device_id: str, what: str, body: object = None, *, by: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The operation that was accepted."""
        answer = await self.world.ask("POST", f"/v1/devices/{device_id}/{what}", body, by=by)
        assert answer.status_code == 202, answer.text
        operation = answer.json()["data"]
        assert answer.headers["location"] == f"/v1/operations/{operation['id']}"
        return operation

    async def done(self, device_id: str, what: str, body: object = None) -> dict[str, Any]:
        """The operation, which has succeeded."""
        operation = await self.ended(await self.asked(device_id, what, body))
        assert operation["state"] == "succeeded", operation
        return operation

    async def ended(self, operation: dict[str, Any]) -> dict[str, Any]:
        async def ended() -> dict[str, Any] | None:
            found = await self.operation(operation["id"])
            return found if found["finishedAt"] else None

        return await eventually(ended, every=0.02)

    async def operation(self, operation_id: str) -> dict[str, Any]:
        answer = await self.world.ask("GET", f"/v1/operations/{operation_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def state(self, device_id: str) -> str:
        return (await self.world.get(device_id))["state"]

    async def is_in(self, device_id: str, state: str) -> bool:
        return await self.state(device_id) == state

    async def shell(self, device_id: str, *argv: str) -> str:
        """What the command said on the device's phone."""
        row = await self.row(device_id)
        said = await self.phones.adb.shell(f"{row.adb_host}:{row.adb_port}", argv)
        assert said.code == 0, said
        return said.output

    async def rows(self, sql: str, **parameters: object) -> list[Any]:
        async with self.world.database.writing() as session:
            result = await session.execute(sa.text(sql), parameters)
            return list(result) if result.returns_rows else []

    async def row(self, device_id: str) -> Any:
        [row] = await self.rows("SELECT * FROM device.devices WHERE id = :id", id=device_id)
        return row

    async def runs(self, device_id: str) -> list[Any]:
        return await self.rows(
            "SELECT * FROM device.device_runs WHERE device_id = :id ORDER BY started_at", id=device_id
        )

    async def announced(self, device_id: str, *types: str) -> list[dict[str, Any]]:
        return [
            payload
            for (payload,) in await self.rows(
                "SELECT payload FROM device.outbox WHERE type = ANY(:types) AND payload ->> 'deviceId' = :id"
                " ORDER BY id",
                types=list(types),
                id=device_id,
            )
        ]

    async def later(self, device_id: str, seconds: float) -> None:
        """As if so long had gone by for this device and its operations."""
        shift = "interval '1 second' * :seconds"
        await self.rows(
            f"UPDATE device.devices SET state_deadline_at = state_deadline_at - {shift},"
            f" recover_at = recover_at - {shift} WHERE id = :id",
            id=device_id,
            seconds=seconds,
        )
        await self.rows(
            f"UPDATE device.operations SET deadline_at = deadline_at - {shift},"
            f" leased_until = leased_until - {shift}, not_before = not_before - {shift} WHERE device_id = :id",
            id=device_id,
            seconds=seconds,
        )

    async def lease_ends(self, device_id: str) -> None:
        """Of whoever works on the device."""
        sql = "UPDATE device.operations SET leased_until = now() WHERE device_id = :id AND state = 'running'"
        await self.rows(sql, id=device_id)


def found_in(folder: Path, word: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


async def lived_well(life: Life, device_id: str) -> None:
    """Only transitions of the table; each run begun and ended once, none beside another."""
    log = await life.rows("SELECT * FROM device.device_state_log WHERE device_id = :id ORDER BY id", id=device_id)
    for before, after in pairwise(log):
        assert after.from_state == before.to_state
        assert after.to_state in TRANSITIONS[before.to_state]
    runs = await life.runs(device_id)
    started = await life.announced(device_id, "device.started")
    stopped = await life.announced(device_id, "device.stopped")
    running = [one for one in runs if one.stopped_at is None]
    assert [one["runId"] for one in started] == [str(one.run_id) for one in runs]
    assert len(running) == ((await life.row(device_id)).state == "running")
    assert [one["runId"] for one in stopped] == [str(one.run_id) for one in runs if one.stopped_at is not None]
    for one, following in pairwise(runs):
        assert one.started_at <= one.stopped_at <= following.started_at
