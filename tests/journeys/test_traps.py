"""Three traps of the usual topology, on a real RabbitMQ with the platform's own workers at the other end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cloudphone_core.billing.subscribers import DEVICE_ALLOCATED, DEVICE_STARTED, DEVICE_STOPPED
from cloudphone_shared.bus import Bus, Delivery, connect
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped
from cloudphone_shared.events.scheduler import DeviceAllocateReplied, DeviceAllocateRequested
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnRabbitMQ
from tests.journeys.wire import Wire, run_of, wired

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


@pytest.fixture
async def wire(platform_on_rabbitmq: OnRabbitMQ) -> AsyncIterator[Wire]:
    async with wired(platform_on_rabbitmq) as running:
        yield running


async def test_the_queue_of_replies_receives_no_request(wire: Wire, platform_on_rabbitmq: OnRabbitMQ) -> None:
    """A queue bound to `device.allocate.*` does; ours is bound to the reply by its full name."""
    naive: list[str] = []

    async def note(envelope: Envelope, delivery: Delivery) -> None:
        naive.append(envelope.type)

    other = connect(platform_on_rabbitmq.bus.url)
    other.subscribe(f"trap.{uuid4().hex}", ["device.allocate.*"], note)
    await other.start()
    saga = uuid7()
    asked = DeviceAllocateRequested(
        saga_id=saga, order_id=None, user_id=uuid4(), tenant_id=uuid4(), plan_id=None, deadline=datetime.now(UTC)
    )
    refused = DeviceAllocateReplied(saga_id=saga, tenant_id=asked.tenant_id, success=False, failure_reason="too late")
    request, reply = await wire.tell(asked, refused)
    await wire.taken_in(DEVICE_ALLOCATED, reply)
    await eventually(lambda: {asked.type, refused.type} <= set(naive))
    await other.stop()
    # What was published before the reply would have arrived before it.
    assert request.event_id not in await wire.seen_by(DEVICE_ALLOCATED)
    parked = await wire.bus.list_dead(DEVICE_ALLOCATED)
    assert request.event_id not in {letter.envelope.event_id for letter in parked if letter.envelope}


async def test_two_handlers_never_share_a_queue(wire: Wire, platform_on_rabbitmq: OnRabbitMQ) -> None:
    """They would get its messages in turns, whatever their type: of two that do, only one hears of each."""
    heard: list[UUID] = []
    queue = f"trap.{uuid4().hex}"

    def shared() -> Bus:
        async def note(envelope: Envelope, delivery: Delivery) -> None:
            heard.append(envelope.event_id)

        bus = connect(platform_on_rabbitmq.bus.url)
        bus.subscribe(queue, [DeviceStarted.type, DeviceStopped.type], note)
        with pytest.raises(ValueError, match="dispatch on the type"):
            bus.subscribe(queue, [DeviceStopped.type], note)
        return bus

    async with Staff(platform_on_rabbitmq) as admin, await admin.new_customer() as customer:
        both = [shared(), shared()]
        await asyncio.gather(*(bus.start() for bus in both))
        told = [
            await wire.tell(
                *run_of(
                    customer.ids["user"], customer.ids["device"], began=(n + 1) * HOUR / 60, ended=(n + 0.5) * HOUR / 60
                )
            )
            for n in range(10)
        ]
        await eventually(lambda: {envelope.event_id for pair in told for envelope in pair} <= set(heard))
        # Of ours each has its own, and hears all of what it is for.
        await wire.taken_in(DEVICE_STARTED, *(start for start, _ in told))
        await wire.taken_in(DEVICE_STOPPED, *(stop for _, stop in told))
        assert (await _usage(admin, customer))["runs"] == 10
        await asyncio.gather(*(bus.stop() for bus in both))
        assert len(heard) == 20


async def test_a_start_and_a_stop_that_overtake_each_other_give_the_same_usage(
    wire: Wire, platform_on_rabbitmq: OnRabbitMQ
) -> None:
    """They travel in two queues. Each is taken in before the other is even sent, then both come once more."""
    used: list[tuple[int, int]] = []
    async with Staff(platform_on_rabbitmq) as admin:
        for first_the_stop in (False, True):
            async with await admin.new_customer() as customer:
                start, stop = run_of(customer.ids["user"], customer.ids["device"], began=2 * HOUR, ended=HOUR)
                queues = (DEVICE_STARTED, DEVICE_STOPPED)
                in_order = list(zip(queues, (start, stop), strict=True))
                for queue, event in reversed(in_order) if first_the_stop else in_order:
                    await wire.taken_in(queue, *await wire.tell(event))
                again = await wire.tell(stop, start)
                await wire.taken_in(DEVICE_STARTED, again[1])
                await wire.taken_in(DEVICE_STOPPED, again[0])
                usage = await _usage(admin, customer)
                used.append((usage["seconds"], usage["runs"]))

                async def shown(customer: Person = customer) -> bool:
                    view = await customer.json(f"/my/devices/{customer.ids['device']}")
                    return view["usage"]["seconds"] == 3600

                await eventually(shown)
    assert used == [(3600, 1), (3600, 1)]


async def _usage(admin: Staff, customer: Person) -> dict[str, Any]:
    return await admin.ask("billing", "GET", f"/v1/devices/{customer.ids['device']}/usage")
