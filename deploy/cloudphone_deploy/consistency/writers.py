"""Changes at a bounded rate: names, at the services themselves, some entities far more often than others."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from .connection import Line, request
from .oracle import Oracle, name_of, request_id_of
from .scene import Account, Scene, Thing

HOT_SHARE = 0.95
"""Of the changes, those that go to hot entities."""
WRITERS_PER_KIND = 3
SHARES: Mapping[str, float] = {"d": 0.6, "u": 0.2, "p": 0.2}
"""Of the changes, by kind of entity."""
OVERDUE_SECONDS = 15.0


class Numbers:
    """The next number of every entity's name."""

    def __init__(self) -> None:
        self._last: Counter[str] = Counter()

    def next(self, code: str) -> int:
        self._last[code] += 1
        return self._last[code]


class Writers:
    """`rate` in changes per second over all. A change without an answer may have been made or not: the oracle finds
    out."""

    def __init__(
        self, scene: Scene, oracle: Oracle, numbers: Numbers, url: Callable[[str], str], *, rate: float, seed: int
    ) -> None:
        self.unanswered = 0
        self.refused = 0
        self._scene = scene
        self._oracle = oracle
        self._numbers = numbers
        self._url = url
        self._rate = rate
        self._random = random.Random(seed)
        self._lines: list[Line] = []

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for letter, share in SHARES.items():
                    things = self._scene.of_kind(letter)
                    pace = Pace(self._rate * share)
                    for _ in range(WRITERS_PER_KIND):
                        group.create_task(self._write(things, pace))
                group.create_task(watch(self._lines))
        finally:
            for line in self._lines:
                line.close()

    async def _write(self, things: Sequence[Thing], pace: "Pace") -> None:
        line = Line(self._url(things[0].service))
        self._lines.append(line)
        hot = [thing for thing in things if thing.hot] or things
        cold = [thing for thing in things if not thing.hot] or things
        while True:
            await pace.turn()
            thing = self._random.choice(hot if self._random.random() < HOT_SHARE else cold)
            await self._change(line, thing, self._scene.administrator)

    async def _change(self, line: Line, thing: Thing, account: Account) -> None:
        number = self._numbers.next(thing.code)
        try:
            reply = await line.ask(rename(thing.path, thing, number, account.token))
        except (OSError, TimeoutError):
            self.unanswered += 1
            await asyncio.sleep(0.05)
            return
        if 200 <= reply.status < 300:
            self._oracle.history(thing.code).answered(number, reply.received)
        else:
            self.refused += 1


class Pace:
    """So many turns a second, shared by whoever waits; those missed are not made up for. 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._next = time.monotonic()

    async def turn(self) -> None:
        now = time.monotonic()
        due = max(self._next, now - self._interval)
        self._next = due + self._interval
        await asyncio.sleep(max(0.0, due - now))


async def watch(lines: Sequence[Line], overdue: float = OVERDUE_SECONDS) -> None:
    """Gives up requests that are not answered at all."""
    while True:
        await asyncio.sleep(1.0)
        for line in lines:
            line.cut(overdue)


def rename(path: str, thing: Thing, number: int, token: str, **headers: str) -> bytes:
    body = {"name": name_of(thing.code, number)}
    return request("PATCH", path, token, body, X_Request_Id=request_id_of(thing.code, number), **headers)
