"""Limits per caller: exact over several connections, never over, and their spelling."""

import asyncio
import uuid
from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_shared.limits import SCRIPT_SHA, Limiter, Rate, Subject, parse_rates, refusal
from tests.servers import Valkey

pytestmark = pytest.mark.anyio

US = 1_000_000


class Connection:
    """One process's way to the server: its own connection and its own Limiter."""

    def __init__(self, url: str, rates: str, **options: object) -> None:
        self.redis = redis.asyncio.Redis.from_url(url, single_connection_client=True)
        self.limiter = Limiter(rates, **options)  # type: ignore[arg-type]

    async def ask(self, caller: str, role: str = "") -> int:
        return int(await self.redis.evalsha(*self._call(self.limiter.subject(caller, role))))  # type: ignore[misc]

    async def ask_and_look(self, caller: str) -> tuple[int, int, int]:
        """Microseconds to wait, and what is kept of the caller then: how many admissions, for how many milliseconds."""
        subject = self.limiter.subject(caller)
        async with self.redis.pipeline(transaction=True) as together:
            together.evalsha(*self._call(subject)).llen(subject.key).pttl(subject.key)  # type: ignore[union-attr]
            wait, kept, left = await together.execute()
        return int(wait), kept, left

    async def now(self) -> float:
        seconds, microseconds = await self.redis.time()  # type: ignore[misc]
        return seconds + microseconds / US

    def _call(self, subject: Subject) -> tuple[Any, ...]:
        arguments = [value for rate in subject.rates for value in (rate.count, round(rate.seconds * US))]
        return (SCRIPT_SHA.decode(), 1, subject.key, *arguments)


async def connections(valkey: Valkey, rates: str, count: int = 2) -> list[Connection]:
    made = [Connection(valkey.url, rates) for _ in range(count)]
    assert await made[0].redis.script_load(Limiter.script) == SCRIPT_SHA.decode()
    return made


async def close(made: list[Connection]) -> None:
    for connection in made:
        await connection.redis.aclose()


async def test_two_processes_together_admit_exactly_the_limit(valkey: Valkey) -> None:
    made = await connections(valkey, "10/min")
    caller = uuid.uuid4().hex

    waits = await asyncio.gather(*(connection.ask(caller) for _ in range(20) for connection in made))

    assert sum(wait == 0 for wait in waits) == 10
    assert all(30 * US < wait <= 60 * US for wait in waits if wait)
    await close(made)


async def test_no_window_of_any_rate_is_ever_over(valkey: Valkey) -> None:
    made = await connections(valkey, "5/s,12/3s")
    caller, admitted = uuid.uuid4().hex, list[tuple[float, float]]()

    async def hammer(connection: Connection) -> None:
        while len(admitted) < 12 + 4:
            before = await connection.now()
            wait = await connection.ask(caller)
            if wait == 0:
                admitted.append((before, await connection.now()))
            await asyncio.sleep(min(wait / US, 0.02))

    async with asyncio.timeout(60):
        await asyncio.gather(*(hammer(connection) for connection in made))

    # Each was admitted between two looks at the server's clock: so many surely within one window are too many.
    for count, window in ((5, 1.0), (12, 3.0)):
        for begun, _ in admitted:
            assert sum(before >= begun and after < begun + window for before, after in admitted) <= count
    await close(made)


async def test_a_refused_request_does_not_prolong_the_wait(valkey: Valkey) -> None:
    made = await connections(valkey, "1/min", 1)
    caller = uuid.uuid4().hex
    await made[0].ask(caller)

    waits = [await made[0].ask(caller) for _ in range(20)]

    assert all(later <= earlier for earlier, later in pairwise(waits))
    await close(made)


async def test_callers_do_not_count_for_each_other(valkey: Valkey) -> None:
    made = await connections(valkey, "1/min", 1)

    assert await made[0].ask(uuid.uuid4().hex) == 0
    assert await made[0].ask(uuid.uuid4().hex) == 0
    await close(made)


async def test_what_is_kept_of_a_caller_is_bounded_and_ends(valkey: Valkey) -> None:
    made = await connections(valkey, "3/s,5/2s", 1)
    caller, admitted = uuid.uuid4().hex, 0

    while admitted < 7:
        wait, kept, left = await made[0].ask_and_look(caller)
        admitted += wait == 0
        assert kept <= 5
        assert 0 <= left <= 2000
        await asyncio.sleep(wait / US)
    await close(made)


async def test_the_prepacked_command_is_the_same_one(valkey: Valkey) -> None:
    made = await connections(valkey, "2/min", 1)
    subject = made[0].limiter.subject(uuid.uuid4().hex)
    reader, writer = await asyncio.open_connection("127.0.0.1", valkey.port)

    answers = []
    for _ in range(3):
        writer.write(subject.command)
        answers.append(await reader.readline())

    assert answers[:2] == [b":0\r\n", b":0\r\n"]
    assert int(answers[2][1:]) > 0
    writer.close()
    await close(made)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_alone_a_process_counts_for_itself() -> None:
    clock = Clock()
    limiter = Limiter("2/s,3/10s", clock=clock)
    subject = limiter.subject("ana")

    assert [limiter.wait_here(subject) for _ in range(3)] == [0, 0, US]
    clock.now = 1.0
    assert limiter.wait_here(subject) == 0
    assert limiter.wait_here(subject) == 9 * US
    clock.now = 10.0
    assert limiter.wait_here(subject) == 0


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=60))
def test_alone_no_window_is_over_however_requests_come(gaps: list[float]) -> None:
    clock = Clock()
    limiter = Limiter("3/s,5/3s", clock=clock)
    subject, admitted = limiter.subject("ana"), []
    for gap in gaps:
        clock.now += gap
        if limiter.wait_here(subject) == 0:
            admitted.append(clock.now)

    for count, window in ((3, 1.0), (5, 3.0)):
        for first, over in zip(admitted, admitted[count:], strict=False):
            assert over - first >= window - 1e-6


def test_a_role_may_have_its_own_rates() -> None:
    limiter = Limiter("1/s", {"admin": "9/s"})

    assert limiter.subject("ana", "customer").rates == (Rate(1, 1.0),)
    assert limiter.subject("bob", "admin").rates == (Rate(9, 1.0),)


def test_a_caller_whose_role_changes_gets_the_new_rates() -> None:
    limiter = Limiter("1/s", {"admin": "9/s"})
    limiter.subject("ana", "customer")

    assert limiter.subject("ana", "admin").rates == (Rate(9, 1.0),)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("10/s,100/10s,500/min", [(10, 1), (100, 10), (500, 60)]),
        ("500/min, 10/s", [(10, 1), (500, 60)]),
        ("5/min,20/h", [(5, 60), (20, 3600)]),
        ("1/2m", [(1, 120)]),
    ],
)
def test_rates_are_read(text: str, rates: list[tuple[int, float]]) -> None:
    assert parse_rates(text) == tuple(Rate(count, float(seconds)) for count, seconds in rates)


@pytest.mark.parametrize(
    "text", ["", " , ", "10", "10/", "/s", "0/s", "10/0s", "-1/s", "1.5/s", "10/day", "10/s,5/min"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|longer"):
        parse_rates(text)


def test_a_refusal_says_when_to_come_back() -> None:
    subject = Subject("ana", parse_rates("10/s,500/min"), SCRIPT_SHA)

    error = refusal(subject, 1_000_001)

    assert error.members == {"retryAfterSeconds": 2}
    assert error.headers == {
        "Retry-After": "2",
        "RateLimit-Policy": '"10-per-1s";q=10;w=1, "500-per-60s";q=500;w=60',
        "RateLimit": '"10-per-1s";r=0;t=2',
    }
