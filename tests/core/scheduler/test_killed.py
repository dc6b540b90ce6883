"""kill -9 of the worker at each step of an allocation: each effect once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudphone_core.scheduler.subscribers import DEVICE_ALLOCATE, INVENTORY
from cloudphone_shared.bus.nats import NatsBus
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceAllocated
from cloudphone_shared.events.scheduler import AllocationReserved, DeviceAllocateReplied, DeviceAllocateRequested
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.scheduler.conftest import World, envelope
from tests.servers import Nats

pytestmark = pytest.mark.anyio

POINTS = (
    "scheduler.inbox ",
    "INSERT INTO scheduler.requests",
    "WITH node AS",
    "WITH counted AS",
    "SET due =",
    "INSERT INTO scheduler.outbox",
    "commit",
    "committed",
    "published",
    "UPDATE scheduler.allocations",
)


class Devices:
    """The device service: it gives what is reserved, and remembers what it was told."""

    def __init__(self, bus: NatsBus) -> None:
        self.bus = bus
        self.reserved: dict[Any, set[Any]] = {}
        self.replies: dict[Any, set[bytes]] = {}
        bus.subscribe("test.devices", [AllocationReserved.type, DeviceAllocateReplied.type], self._take)

    async def _take(self, message: Envelope, delivery: object) -> None:
        if message.type == DeviceAllocateReplied.type:
            reply = msgspec.json.decode(message.data, type=DeviceAllocateReplied)
            self.replies.setdefault(reply.saga_id, set()).add(bytes(message.data))
            return
        told = msgspec.json.decode(message.data, type=AllocationReserved)
        self.reserved.setdefault(told.order_id, set()).add(told.allocation_id)
        taken = DeviceAllocated(
            device_id=told.device_id, tenant_id=told.tenant_id, user_id=told.user_id,
            allocation_id=told.allocation_id, fencing_token=told.fencing_token,
        )  # fmt: skip
        await self.bus.publish([envelope(taken, 10**13)])


@asynccontextmanager
async def workers(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.core.scheduler.dying", *arguments, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_worker_killed_at_any_step_leaves_each_effect_once(world: World, url: str, nats: Nats) -> None:
    node = await world.node()
    await world.phones(node, len(POINTS))
    name = f"test-{uuid7().hex}"
    bus = NatsBus(nats.url, name=name, ack_wait=1.0)
    devices = Devices(bus)
    asked: set[Any] = set()
    async with workers(url, nats.url, name) as process:
        assert process.stdin and process.stdout
        await bus.start()
        for point in POINTS:
            process.stdin.write(f"{point}\n".encode())
            saga_id = uuid7()
            asked.add(saga_id)
            order = DeviceAllocateRequested(
                saga_id=saga_id, order_id=saga_id, user_id=uuid7(), tenant_id=world.tenant, plan_id=None,
                deadline=datetime.now(UTC) + timedelta(hours=1),
            )  # fmt: skip
            message = envelope(order, 0)
            await bus.publish([message, message])
            async with asyncio.timeout(60):
                assert int(await process.stdout.readline()) == -signal.SIGKILL, point
        process.stdin.write(b"nowhere\n")

        async def all_are_told() -> bool:
            # What was in the hands of five workers that died is parked, as the cause of it; an operator replays it.
            for queue in (DEVICE_ALLOCATE, INVENTORY):
                await bus.replay(queue)
            return devices.replies.keys() == asked

        await eventually(all_are_told, within=120)
    await bus.stop()

    assert all(len(each) == 1 for each in (*devices.reserved.values(), *devices.replies.values()))
    live = await world.rows("SELECT saga_id, device_id FROM scheduler.allocations WHERE state = 'active'")
    assert {row.saga_id for row in live} == asked and len({row.device_id for row in live}) == len(live) == len(POINTS)
    for event in (AllocationReserved, DeviceAllocateReplied):
        assert len(await world.announced(event)) == len(POINTS)
