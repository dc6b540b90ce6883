"""The engine of the warm-up: what each BFF would have ready is filled through its own fill path, some at a time.

The engine asks; the BFF plans, fills and yields to its live traffic. It knows views by name only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from cloudphone_shared.contracts.warmup import WarmupFailure, WarmupFill, WarmupKey, WarmupPlan, WarmupResult
from cloudphone_shared.errors import DomainError, Unavailable

_KEYS_PER_CALL = 100
_FAILURES_KEPT = 50


class Filler(Protocol):
    """A BFF."""

    @property
    def name(self) -> str: ...

    async def plan(self, users: int) -> WarmupPlan: ...

    async def fill(self, keys: WarmupFill) -> list[WarmupResult]: ...


class Progress(msgspec.Struct):
    """Counts so far; `failures` keeps the first 50. `planned` says whether any BFF could plan."""

    total: int = 0
    filled: int = 0
    skipped: int = 0
    failed: int = 0
    planned: bool = False
    failures: list[WarmupFailure] = []

    def count(self, result: WarmupResult) -> None:
        if result.outcome == "filled":
            self.filled += 1
        elif result.outcome == "skipped":
            self.skipped += 1
        else:
            self.fail(result.key, result.reason)

    def fail(self, key: str, reason: str, views: int = 1) -> None:
        self.failed += views
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(WarmupFailure(key=key, reason=reason))


async def warm(
    fillers: Sequence[Filler],
    *,
    users: int,
    concurrency: int,
    report: Callable[[Progress], Awaitable[None]],
) -> Progress:
    """Fills what the BFFs plan for the `users` most recently active users, `concurrency` calls at a time.

    `report` is told after the plan and after every call. What fails is counted with its reason; the rest goes on.
    """
    progress = Progress()
    plans = [await _plan(filler, users, progress) for filler in fillers]
    await report(progress)
    slots = asyncio.Semaphore(concurrency)

    async def fill(filler: Filler, keys: list[WarmupKey]) -> None:
        async with slots:
            await _fill(filler, keys, progress)
            await report(progress)

    async with asyncio.TaskGroup() as group:
        for filler, keys in zip(fillers, plans, strict=True):
            for some in _chunks(keys):
                group.create_task(fill(filler, some))
    return progress


async def _plan(filler: Filler, users: int, progress: Progress) -> list[WarmupKey]:
    try:
        keys = (await filler.plan(users)).keys
    except (DomainError, Unavailable) as error:
        progress.fail(filler.name, f"no plan: {error}", views=0)
        return []
    progress.planned = True
    progress.total += len(keys)
    return keys


async def _fill(filler: Filler, keys: list[WarmupKey], progress: Progress) -> None:
    try:
        for result in await filler.fill(WarmupFill(keys=keys)):
            progress.count(result)
    except (DomainError, Unavailable) as error:
        progress.fail(filler.name, str(error), views=len(keys))


def _chunks(keys: Sequence[WarmupKey]) -> Iterator[list[WarmupKey]]:
    for start in range(0, len(keys), _KEYS_PER_CALL):
        yield list(keys[start : start + _KEYS_PER_CALL])
