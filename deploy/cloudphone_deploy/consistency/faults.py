"""What can go wrong. Each fault is made for some seconds and undone at its end, also when it is cut short."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from cloudphone_cache.redis import REDIS_ERRORS
from cloudphone_deploy.consistency import lost_data, lost_messages, moved_clocks
from cloudphone_deploy.consistency.laboratory import SERVICES, Laboratory
from cloudphone_deploy.consistency.parts import Process
from cloudphone_deploy.errors import CommandError

PROMOTED_SECONDS = 30.0

Make = Callable[[Laboratory, str, float], Awaitable[None]]


class Fault(NamedTuple):
    """`says` what happens, for the help; `make` gets the target and how many seconds; `targets` those there are."""

    says: str
    make: Make
    targets: Callable[[Laboratory], Sequence[str]]
    seconds: tuple[float, float]


async def kill(laboratory: Laboratory, target: str, seconds: float) -> None:
    """Missing for so long, then started again."""
    part = await laboratory.part_now(target)
    await part.kill()
    try:
        await asyncio.sleep(seconds)
    finally:
        await part.start()


async def freeze(laboratory: Laboratory, target: str, seconds: float) -> None:
    part = await laboratory.part_now(target)
    part.stop()
    try:
        await asyncio.sleep(seconds)
    finally:
        part.go_on()


async def slow(laboratory: Laboratory, target: str, seconds: float) -> None:
    await laboratory.hold_up(target, delay=0.3)
    try:
        await asyncio.sleep(seconds)
    finally:
        await laboratory.hold_up(target)


async def failing(laboratory: Laboratory, target: str, seconds: float) -> None:
    await laboratory.hold_up(target, refuse=True)
    try:
        await asyncio.sleep(seconds)
    finally:
        await laboratory.hold_up(target)


async def failover(laboratory: Laboratory, target: str, seconds: float) -> None:
    """The one that was killed comes back as the other's replica."""
    former = await laboratory.leader(target)
    await former.kill()
    try:
        async with asyncio.timeout(PROMOTED_SECONDS):
            while await _leader_or_none(laboratory, target) in (None, former):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(seconds)
    except TimeoutError:
        raise CommandError(f"No replica was promoted within {PROMOTED_SECONDS:.0f} s.") from None
    finally:
        await former.start()


async def _leader_or_none(laboratory: Laboratory, share: str) -> Process | None:
    try:
        return await laboratory.leader(share)
    except (*REDIS_ERRORS, OSError, TimeoutError):
        return None


def _only(*names: str) -> Callable[[Laboratory], Sequence[str]]:
    return lambda laboratory: names


def _bffs(laboratory: Laboratory) -> Sequence[str]:
    return [name for name in laboratory.processes if name.startswith("bff-")]


def _redis(laboratory: Laboratory) -> Sequence[str]:
    return laboratory.shares


def _replicated(laboratory: Laboratory) -> Sequence[str]:
    return [] if laboratory.kind == "single" else laboratory.shares


def _processes(laboratory: Laboratory) -> Sequence[str]:
    return list(laboratory.processes)


def _releases(laboratory: Laboratory) -> Sequence[str]:
    return [f"{service} {bff}" for service in SERVICES for bff in _bffs(laboratory)]


def _broker(laboratory: Laboratory) -> Sequence[str]:
    return [laboratory.bus]


_SHORT, _LONG, _FREEZE = (0.5, 2.0), (1.0, 4.0), (1.0, 5.0)
_services, _relays, _writer = _only("services"), _only("workers"), _only("cache-worker")
_each_service, _all_of_redis = _only(*SERVICES), _only("redis")
_feed_connections = _only("cloudphone-feed", "cloudphone-feed-writer")
_restorable = _only("user", "device", "billing")
_ADDED = "A BFF's process of a new release knows a service that the cache worker is only told of later."
_RESTORED = "A service's database is restored from a backup that is seconds old, and `cloudphone restored` is run."

FAULTS: dict[str, Fault] = {
    "kill-bff": Fault("A process of a BFF is killed, whatever it is filling.", kill, _bffs, _SHORT),
    "freeze-bff": Fault("A process of a BFF stands still for up to 5 s.", freeze, _bffs, _FREEZE),
    "kill-services": Fault("The services are killed.", kill, _services, _SHORT),
    "freeze-services": Fault("The services stand still for up to 5 s.", freeze, _services, _FREEZE),
    "slow-service": Fault("A service's answers take 0.6 s longer.", slow, _each_service, _LONG),
    "failing-service": Fault("A service hangs up on whoever asks it.", failing, _each_service, _LONG),
    "kill-relays": Fault("The relays are killed, with changes not yet published.", kill, _relays, _SHORT),
    "freeze-relays": Fault("The relays stand still for up to 5 s.", freeze, _relays, _FREEZE),
    "kill-feed-writer": Fault("The cache worker is killed.", kill, _writer, _SHORT),
    "freeze-feed-writer": Fault("The cache worker stands still for up to 5 s.", freeze, _writer, _FREEZE),
    "kill-broker": Fault("The broker is killed, with messages that it confirmed.", kill, _broker, _SHORT),
    "freeze-broker": Fault("The broker stands still for up to 5 s.", freeze, _broker, _FREEZE),
    "old-messages": Fault("Messages come again: late, twice and out of order.", lost_messages.old, _broker, _LONG),
    "dropped-messages": Fault("What is announced never reaches the feed.", lost_messages.dropped, _writer, _LONG),
    "restart-redis": Fault("Redis is killed and comes back with its data.", kill, _redis, _SHORT),
    "failover": Fault("Redis is killed, and its replica becomes the master.", failover, _replicated, _LONG),
    "empty-redis": Fault("Redis is killed and comes back with nothing.", lost_data.empty, _redis, _SHORT),
    "freeze-redis": Fault("Redis stands still for up to 5 s.", freeze, _redis, _FREEZE),
    "flush-redis": Fault("FLUSHALL, several times.", lost_data.flush, _all_of_redis, _SHORT),
    "evicting-redis": Fault("Redis has less memory than it needs.", lost_data.evict, _all_of_redis, _LONG),
    "set-back-redis": Fault("Redis holds again what it held seconds ago.", lost_data.set_back, _all_of_redis, _LONG),
    "cut-feeds": Fault("The feed's connections are cut again and again.", lost_data.cut, _feed_connections, _LONG),
    "trimmed-feed": Fault("The feed is trimmed under a BFF that stands still.", lost_data.trim, _bffs, _LONG),
    "clock-ahead": Fault("A process's clock is five minutes ahead.", moved_clocks.ahead, _processes, _LONG),
    "clock-behind": Fault("A process's clock is five minutes behind.", moved_clocks.behind, _processes, _LONG),
    "restless-clock": Fault("A process's clock is set to and fro.", moved_clocks.restless, _processes, _LONG),
    "added-service": Fault(_ADDED, lost_data.unknown, _releases, _SHORT),
    "restored-database": Fault(_RESTORED, lost_data.restore, _restorable, _LONG),
}
"""By name."""
