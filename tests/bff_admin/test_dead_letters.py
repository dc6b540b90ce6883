"""What nobody could take in, as an operator finds it and delivers it again."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from cloudphone_bff_admin.dead_letters import QUEUES, DeadLetters
from cloudphone_deploy.commands.bus import queues
from cloudphone_shared.bus import Bus, Delivery, Reject, connect
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.events import Envelope
from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console, console_of
from tests.conditions import eventually
from tests.in_process import Services
from tests.servers import Nats, Valkey

pytestmark = pytest.mark.anyio
QUEUE = "device-service.user-updated"


class Listener:
    """Refuses what comes until it is `willing`."""

    def __init__(self) -> None:
        self.willing = False
        self.took: list[uuid.UUID] = []

    async def __call__(self, envelope: Envelope, delivery: Delivery) -> None:
        if not self.willing:
            raise Reject("not to my liking")
        self.took.append(envelope.event_id)


@pytest.fixture
async def listener() -> Listener:
    return Listener()


@pytest.fixture
async def bus(nats: Nats, listener: Listener) -> AsyncIterator[Bus]:
    bus = connect(nats.url)
    bus.subscribe(QUEUE, ["user.updated"], listener)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def console(services: Services, valkey: Valkey, nats: Nats) -> AsyncIterator[Console]:
    async with console_of(services, valkey.url, bus_url=nats.url) as running:
        yield running


def test_every_queue_that_parks_events_is_looked_at() -> None:
    assert sorted(QUEUES) == sorted(queues())


async def test_an_event_that_was_refused_is_listed_and_delivered_again(
    console: Console, services: Services, bus: Bus, listener: Listener
) -> None:
    event_id = uuid7()
    await bus.publish([_event(event_id)])

    async def parked() -> list[dict[str, object]]:
        found = await console.seen(f"/admin/dead-letters?queue={QUEUE}")
        return [each for each in found if str(event_id) in each["body"]]

    [letter] = await eventually(parked)
    assert (letter["queue"], letter["type"]) == (QUEUE, "user.updated")
    assert "not to my liking" in str(letter["reason"])
    wanted = {"queue": QUEUE, "ids": [letter["id"]]}
    theirs = await services.member("admin", tenant=await services.tenant())
    assert (await console.get("/admin/dead-letters", by=theirs)).status_code == 403
    assert (await console.ask("POST", "/admin/dead-letters/replay", wanted, by=theirs)).status_code == 403
    listener.willing = True
    replayed = await console.ask("POST", "/admin/dead-letters/replay", wanted)
    assert (replayed.status_code, replayed.json()) == (200, {"replayed": 1})
    await eventually(lambda: event_id in listener.took)
    assert not await parked()


async def test_without_a_broker_there_is_no_answer() -> None:
    dead_letters = DeadLetters(lambda: connect("nats://127.0.0.1:9"), patience=0.1)
    with pytest.raises(Unavailable):
        await dead_letters.list(QUEUES, 10)


def _event(event_id: uuid.UUID) -> Envelope:
    return Envelope(event_id=event_id, type="user.updated", version=1, time=datetime.now(UTC), source="user")
