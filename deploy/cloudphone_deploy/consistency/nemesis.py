"""Makes faults in a laboratory, one after the other, in a sequence that a seed decides."""

import asyncio
import random
import time
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from cloudphone_cache.redis import REDIS_ERRORS
from cloudphone_deploy.consistency.faults import FAULTS
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.errors import CommandError

PAUSE_SECONDS = (1.0, 3.0)
"""Between two faults, all being well: for the cache to answer again."""


class Incident(NamedTuple):
    """A fault that was made, until all was well again. Seconds since 1970."""

    name: str
    target: str
    began: float
    ended: float


class Step(NamedTuple):
    """`target` is what is harmed; `seconds` how long, then `pause` before the next."""

    name: str
    target: str
    seconds: float
    pause: float


def plan(seed: int, targets: Mapping[str, Sequence[str]]) -> Generator[Step]:
    """Without end: every fault once in each round, in an order, on a target and for a time that the seed decides."""
    dice = random.Random(seed)
    while True:
        for name in dice.sample(sorted(targets), len(targets)):
            least, most = FAULTS[name].seconds
            target = dice.choice(list(targets[name]))
            yield Step(name, target, round(dice.uniform(least, most), 2), round(dice.uniform(*PAUSE_SECONDS), 2))


class Nemesis:
    """`names` of FAULTS; all that this laboratory can suffer without. Raises CommandError for a name that is none."""

    def __init__(self, laboratory: Laboratory, seed: int, names: Sequence[str] | None = None) -> None:
        unknown = [name for name in names or () if name not in FAULTS]
        if unknown:
            raise CommandError(f"There is no fault {unknown[0]!r}: choose from {', '.join(FAULTS)}.")
        self.log: list[Incident] = []
        self.current: str | None = None
        self._laboratory = laboratory
        targets = {name: FAULTS[name].targets(laboratory) for name in names or FAULTS}
        if names and (none := [name for name in targets if not targets[name]]):
            raise CommandError(f"This laboratory cannot suffer {none[0]}.")
        self._plan = plan(seed, {name: each for name, each in targets.items() if each})

    async def run(self, until: float) -> None:
        """Up to that moment, in seconds since 1970. Raises CommandError when the platform does not recover."""
        for step in self._plan:
            if time.time() + step.pause + step.seconds > until:
                await asyncio.sleep(max(0.0, until - time.time()))
                return
            await asyncio.sleep(step.pause)
            await self.make(step)

    async def make(self, step: Step) -> None:
        """One fault: made, undone, and recovered from. Raises CommandError."""
        began = time.time()
        self.current = step.name
        try:
            await FAULTS[step.name].make(self._laboratory, step.target, step.seconds)
            await self._laboratory.until_healthy()
        except (CommandError, RedisError, *REDIS_ERRORS, OSError) as error:
            raise CommandError(f"After {step.name} of {step.target}: {error}") from error
        finally:
            self.log.append(Incident(step.name, step.target, began, time.time()))
            self.current = None
