"""The board in Redis: every process that reads says how it is, and answers what is asked of all.

`{processes}:<id>` holds a process's report and expires with it; `{processes}` lists the ids; a question is an item of
`{processes}:questions`, its answers are a hash that expires. Nothing of it is on a reader's path.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from redis.exceptions import RedisError

from .feed import stream_of
from .redis import REDIS_ERRORS, Address, RedisAway, cancelled, patient_client

_log = logging.getLogger(__name__)

LIST = "{processes}"
QUESTIONS = "{processes}:questions"
_LIFE_MS = 10_000
_ANSWER_LIFE_MS = 30_000
_MOST_QUESTIONS = 1000
_PARTING_SECONDS = 0.5
_ERRORS = (RedisError, OSError, TimeoutError)

# The list's scores are of Redis' own clock, so processes whose clocks differ do not remove each other.
_REPORT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
"""


class Process(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who reports: `id` is new at every start, `name` that of the app."""

    id: str
    name: str
    host: str
    pid: int

    @property
    def label(self) -> str:
        return f"{self.name}@{self.host}:{self.pid}"

    @classmethod
    def here(cls, name: str) -> "Process":
        return cls(id=secrets.token_hex(6), name=name, host=socket.gethostname(), pid=os.getpid())


class Posted(msgspec.Struct, frozen=True):
    """What hangs on the board of one process: its report as it wrote it."""

    process: Process
    report: msgspec.Raw


class Question(msgspec.Struct, frozen=True):
    """`by` is the process that asks, which answers itself."""

    id: str
    by: str
    kind: str
    about: dict[str, Any] = {}


class Replies(msgspec.Struct):
    """Each process's answer as JSON; `silent` are those on the board that gave none in time."""

    answers: list[tuple[Process, msgspec.Raw]]
    silent: list[Process]


Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]


class Board:
    """`report` gives what this process says of itself; `answers` what it does at each kind of question."""

    def __init__(
        self,
        address: Address,
        process: Process,
        report: Callable[[], Any],
        answers: Mapping[str, Answer],
        *,
        every_seconds: float = 2.0,
    ) -> None:
        self.process = process
        self._client = patient_client(address, read_timeout=every_seconds + 1.0, name="cloudphone-board")
        self._report = report
        self._answers = answers
        self._block_ms = round(every_seconds * 1000)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        with contextlib.suppress(*_ERRORS):
            async with asyncio.timeout(_PARTING_SECONDS):
                await self._client.zrem(LIST, self.process.id)
                await self._client.delete(_report_key(self.process.id))
        with contextlib.suppress(*_ERRORS):
            await self._client.aclose()

    async def processes(self) -> list[Posted]:
        """All that have reported of late, by name. Raises RedisAway."""
        try:
            ids = cast("list[bytes]", await self._client.zrange(LIST, 0, -1))
            keys = [_report_key(each.decode()) for each in ids]
            found = cast("list[bytes | None]", await self._client.mget(keys) if keys else [])
        except _ERRORS as error:
            raise RedisAway(str(error)) from error
        posted = [each for text in found if text and (each := _posted(text)) is not None]
        return sorted(posted, key=lambda each: (each.process.name, each.process.id))

    async def newest(self, services: Iterable[str]) -> dict[str, int]:
        """The number that each service's feed has come to, as far as it is there. Raises RedisAway."""
        found: dict[str, int] = {}
        try:
            for service in services:
                last = cast("list[Any]", await self._client.xrevrange(stream_of(service), count=1))
                if last:
                    found[service] = int(last[0][0].partition(b"-")[0])
        except _ERRORS as error:
            raise RedisAway(str(error)) from error
        return found

    async def ask(self, kind: str, about: Mapping[str, Any], *, within: float = 1.0) -> Replies:
        """What every process answers, this one included, `within` so many seconds. Raises RedisAway."""
        awaited = {each.process.id: each.process for each in await self.processes()}
        awaited[self.process.id] = self.process
        question = Question(secrets.token_hex(8), self.process.id, kind, dict(about))
        ends = asyncio.get_running_loop().time() + within
        answers: dict[str, bytes] = {self.process.id: await self._answered(question)}
        try:
            if len(awaited) > 1:
                await self._client.xadd(
                    QUESTIONS, {b"q": msgspec.json.encode(question)}, maxlen=_MOST_QUESTIONS, approximate=True
                )
                await self._client.pexpire(QUESTIONS, _ANSWER_LIFE_MS)
            pause = 0.002
            while awaited.keys() - answers.keys() and asyncio.get_running_loop().time() < ends:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.05)
                given = cast("dict[bytes, bytes]", await self._client.hgetall(_answers_key(question.id)))
                answers |= {who.decode(): text for who, text in given.items() if who.decode() in awaited}
        except _ERRORS as error:
            raise RedisAway(str(error)) from error
        everybody = sorted(awaited.values(), key=lambda process: (process.name, process.id))
        return Replies(
            [(process, msgspec.Raw(answers[process.id])) for process in everybody if process.id in answers],
            [process for process in everybody if process.id not in answers],
        )

    async def _run(self) -> None:
        """A report, then what is asked until the next one is due. Redis away, or back without its memory: goes on."""
        last = "0-0"
        while not cancelled():
            try:
                await self._post()
                reply = await self._client.xread({QUESTIONS: last}, block=self._block_ms)
                for _, items in cast("list[Any]", reply or []):
                    for item, fields in items:
                        await self._reply(fields.get(b"q", b""))
                        last = item.decode()
            except _ERRORS:
                # Another server may answer next, whose ids are lower; to answer twice does no harm.
                last = "0-0"
                await asyncio.sleep(0.25)

    async def _post(self) -> None:
        posted = msgspec.json.encode({"process": self.process, "report": self._report()})
        await self._client.eval(_REPORT, 2, _report_key(self.process.id), LIST, posted, _LIFE_MS, self.process.id)

    async def _reply(self, text: bytes) -> None:
        try:
            question = msgspec.json.decode(text, type=Question)
        except msgspec.MsgspecError:
            # Of another release.
            return
        if question.by == self.process.id:
            return
        try:
            answer = await self._answered(question)
        except REDIS_ERRORS:
            return
        except Exception:
            _log.exception("a question on the board could not be answered: %s", question.kind)
            return
        key = _answers_key(question.id)
        await self._client.hset(key, self.process.id, answer)
        await self._client.pexpire(key, _ANSWER_LIFE_MS)

    async def _answered(self, question: Question) -> bytes:
        # A process of another release may not know the question.
        answer = self._answers.get(question.kind)
        return b"null" if answer is None else msgspec.json.encode(await answer(question.about))


def _posted(text: bytes) -> Posted | None:
    """None for what a process of another release has written otherwise."""
    try:
        return msgspec.json.decode(text, type=Posted)
    except msgspec.MsgspecError:
        return None


def _report_key(process: str) -> str:
    return f"{LIST}:{process}"


def _answers_key(question: str) -> str:
    return f"{LIST}:answers:{question}"
