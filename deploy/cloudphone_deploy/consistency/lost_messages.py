"""What happens to messages on their way: they come again, late and out of order, or not at all."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import msgspec

from cloudphone_cache.feed import stream_of
from cloudphone_deploy.consistency.laboratory import SERVICES, Laboratory
from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.events.envelope import HEARTBEAT, Envelope, Heartbeat
from cloudphone_shared.ids import uuid7

FEED_QUEUE = "cache.feed"
REPEATED = 60
"""Items of each feed that come again."""


async def old(laboratory: Laboratory, target: str, seconds: float) -> None:
    """What the feeds hold now is announced again while it ages, twice and in no order.

    Only the feed listens to what is published here: the others know an event by its id, and one that they know is
    nothing to them.
    """
    items = [item for service in SERVICES for item in await _of_feed(laboratory, service)]
    bus = connect(laboratory.bus_url)
    await bus.start()
    dice = random.Random(len(items))
    try:
        for _ in range(2):
            await asyncio.sleep(seconds / 2)
            await bus.publish([_again(*item) for item in dice.sample(items, len(items))])
    finally:
        await bus.stop()


async def dropped(laboratory: Laboratory, target: str, seconds: float) -> None:
    """Somebody else takes the place of the feed's writer and does nothing with what it gets."""
    began = asyncio.Event()

    async def swallow(envelopes: list[Envelope]) -> None:
        began.set()

    part = laboratory.part(target)
    await part.kill()
    bus: Bus = connect(laboratory.bus_url)
    bus.subscribe_batches(FEED_QUEUE, ["#"], swallow)
    try:
        await bus.start()
        async with asyncio.timeout(15):
            await began.wait()
        await asyncio.sleep(seconds)
    finally:
        await bus.stop()
        await part.start()


async def _of_feed(laboratory: Laboratory, service: str) -> list[tuple[str, int, int, dict[str, int]]]:
    """Service, number, T of a heartbeat or 0, and the versions of a change."""
    async with laboratory.redis() as redis:
        entries: list[Any] = await redis.xrevrange(stream_of(service), count=REPEATED)
    found: list[tuple[str, int, int, dict[str, int]]] = []
    for item, fields in entries:
        seq, _, t_ms = item.decode().partition("-")
        versions = {name.decode(): int(version) for name, version in fields.items()} if t_ms == "0" else {}
        found.append((service, int(seq), int(t_ms), versions))
    return found


def _again(service: str, seq: int, t_ms: int, versions: dict[str, int]) -> Envelope:
    return Envelope(
        event_id=uuid7(),
        type=f"{service}.{HEARTBEAT}" if t_ms else f"{service}.repeated",
        version=1,
        time=datetime.now(UTC),
        source=service,
        seq=seq,
        entities=versions,
        data=msgspec.Raw(msgspec.json.encode(Heartbeat(t=t_ms)) if t_ms else b"{}"),
    )
