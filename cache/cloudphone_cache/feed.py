"""The change feed: one Redis stream per service, appended to by the cache worker, tailed by every reading process.

A change is `<seq>-0` with its entities and versions as fields, a heartbeat `<seq>-<T in ms>`.
"""

import asyncio
import contextlib
import hashlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec
from redis.exceptions import NoScriptError, RedisError

from .knowledge import INCARNATION, Knowledge
from .redis import REDIS_ERRORS, Address, Link, cancelled, dial, patient_client

WINDOW_SECONDS = 600
"""How far back the streams reach: longer than any view is fresh."""
_STREAM_LIFE_MS = 24 * 3600 * 1000
_MARK_EVERY_MS = 5000
_BATCH = 500
_READ = 200
_MANY = 20
_CLOSE_SECONDS, _PAUSE_SECONDS = 0.005, 0.004
_PORTION = 16
"""Items heard at one turn of the loop at least, in about 0.1 ms."""
_SHARE = 0.15
"""The part of the time that hearing may have while others have work."""
_MOST_TURNS = 1000
_NOTHING, _EMPTY = "-", b"-"


def stream_of(service: str) -> str:
    # One slot for all streams, so one XREAD can block on all of them.
    return f"{{changes}}:{service}"


class Change(msgspec.Struct, frozen=True):
    """A change as its owner numbered it: entity to version."""

    seq: int
    entities: Mapping[str, int]


class Beat(msgspec.Struct, frozen=True):
    """All that was committed before `t_ms` has a number of `seq` at most."""

    seq: int
    t_ms: int


Item = Change | Beat


class FetchChanges(Protocol):
    async def __call__(
        self, service: str, *, after: int | None = None, since_ms: int | None = None
    ) -> Sequence[Change]:
        """The owner's changes in order: numbered above `after`, or of the last `since_ms` milliseconds. Possibly only
        the first of them; none when there are none. Any exception counts as: cannot be asked now."""
        ...


class Owner(Exception):
    """The owner of the changes cannot be asked."""


# Replies: how many items were taken, then "" or why the next was not: "absent" (no stream), "gap", and the last number.
# `jump` is the last number (or "absent") after which the first item may stand although numbers are missing.
_APPEND = """
local key, incarnation, life, jump = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
local last, lastText, sub = nil, 'absent', 0
if redis.call('EXISTS', key) == 1 then
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local text, rest = string.match(info[i + 1], '(%d+)-(%d+)')
      last, lastText, sub = tonumber(text), text, tonumber(rest)
    end
  end
end
local at, taken = 4, 0
while at <= #ARGV do
  local text, t, width = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local seq, beat = tonumber(text), t > 0
  local may = (taken == 0 and jump == lastText)
  if last == nil then
    if not may then return {taken, 'absent', lastText} end
  elseif seq > last then
    local higher = math.floor(seq / incarnation) > math.floor(last / incarnation)
    local first = higher and seq % incarnation == (beat and 0 or 1)
    if not (may or first or (not beat and seq == last + 1)) then return {taken, 'gap', lastText} end
  end
  if last == nil or seq > last or (beat and seq == last and t > sub) then
    local fields = {}
    for i = 1, width do fields[i] = ARGV[at + 2 + i] end
    redis.call('XADD', key, text .. '-' .. ARGV[at + 1], unpack(fields))
    last, lastText, sub = seq, text, t
  end
  at, taken = at + 3 + width, taken + 1
end
if taken > 0 then redis.call('PEXPIRE', key, life) end
return {taken, '', lastText}
"""
_SHA = hashlib.sha1(_APPEND.encode()).hexdigest()  # noqa: S324  # how Redis names a script


class Appender:
    """The worker's side. Any number may be at it at once: numbers decide, repeats are refused by their ids.

    A gap is filled from the owner; while that cannot be asked, its items are left to it (it keeps them 24 h and its
    next heartbeat shows the gap again). While Redis is away, appending waits.
    """

    def __init__(
        self, address: Address, fetch_changes: FetchChanges, *, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._redis = patient_client(address, read_timeout=5.0, name="cloudphone-feed-writer")
        self._fetch = fetch_changes
        self._window_ms = round(window_seconds * 1000)
        self._marks: dict[str, deque[Beat]] = {}
        self.appended = self.gaps = self.waits = 0

    async def close(self) -> None:
        await self._redis.aclose()

    async def append(self, service: str, items: Sequence[Item]) -> bool:
        """Items of one service in the order they came. False when its owner had to be asked and could not be."""
        left = list(items)
        try:
            for _ in range(_MOST_TURNS):
                if not left:
                    break
                taken, why, last = await self._put(service, left[:_BATCH])
                self._mark(service, left[:taken])
                left = left[taken:]
                if why and not await self._fill(service, left[0], why, last):
                    left = left[1:]
        except Owner:
            return False
        await self._trim(service)
        return True

    async def _fill(self, service: str, item: Item, why: str, last: str) -> bool:
        """What stands between the stream's end and `item`. False: nothing does, and the item is none of the owner's."""
        self.gaps += 1
        if why == "absent":
            rows = await self._ask(service, since_ms=self._window_ms)
        else:
            rows = await self._ask(service, after=int(last))
        if rows:
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                await self._put(service, batch, jump=last)
                last = str(batch[-1].seq)
            return True
        if why == "absent" and isinstance(item, Beat):
            await self._put(service, [item], jump=last)
            self._mark(service, [item])
        # The owner does not know it: a change or heartbeat of a timeline that was restored away.
        return False

    async def _ask(self, service: str, **since: int) -> Sequence[Change]:
        try:
            return await self._fetch(service, **since)
        except Exception as error:
            raise Owner(service) from error

    async def _put(self, service: str, items: Sequence[Item], *, jump: str = "") -> tuple[int, str, str]:
        """How many items are in the stream, why the next is not, and the stream's last number. Waits out an outage."""
        arguments: list[bytes | int | str] = [INCARNATION, _STREAM_LIFE_MS, jump]
        for item in items:
            arguments += _arguments(item)
        pause = 0.05
        while True:
            reply = None
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                reply = cast("list[Any]", await self._run(stream_of(service), arguments))
            if cancelled():
                raise asyncio.CancelledError
            if reply is not None:
                taken, why, last = reply
                self.appended += taken
                return taken, why.decode(), last.decode()
            self.waits += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _run(self, key: str, arguments: list[bytes | int | str]) -> Any:
        try:
            return await self._redis.evalsha(_SHA, 1, key, *arguments)
        except NoScriptError:
            return await self._redis.eval(_APPEND, 1, key, *arguments)

    def _mark(self, service: str, items: Sequence[Item]) -> None:
        marks = self._marks.setdefault(service, deque())
        for item in items:
            if isinstance(item, Beat) and (not marks or item.t_ms >= marks[-1].t_ms + _MARK_EVERY_MS):
                marks.append(item)

    async def _trim(self, service: str) -> None:
        """Cuts the stream at the heartbeat of ten minutes before the latest."""
        marks = self._marks.get(service)
        if not marks or len(marks) < 2 or marks[1].t_ms > marks[-1].t_ms - self._window_ms:
            return
        while len(marks) > 1 and marks[1].t_ms <= marks[-1].t_ms - self._window_ms:
            marks.popleft()
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._redis.xtrim(stream_of(service), minid=f"{marks[0].seq}-{marks[0].t_ms}", approximate=False)


def _arguments(item: Item) -> list[bytes | int | str]:
    if isinstance(item, Beat):
        return [item.seq, item.t_ms, 2, "t", item.t_ms]
    pairs: list[bytes | int | str] = [text for pair in item.entities.items() for text in pair]
    # A stream's item cannot be empty.
    return [item.seq, 0, len(pairs), *pairs] if pairs else [item.seq, 0, 2, _NOTHING, 0]


class Tail:
    """The reader's side: one blocking XREAD over all streams, on a connection of its own.

    Every stream is read from its beginning at first, from the last id on afterwards. A connection that is cut, falls
    silent, or brings nothing new for 2 s (demoted, perhaps) is opened again, to whoever is the master by then.
    """

    def __init__(
        self, address: Address, knowledge: Knowledge, *, block_seconds: float = 0.5, quiet_seconds: float = 2.0
    ) -> None:
        self._address = address
        self._knowledge = knowledge
        self._block_ms = round(block_seconds * 1000)
        self._read_timeout = block_seconds + 1.0
        self._quiet = quiet_seconds
        self._last = dict.fromkeys((stream_of(service) for service in knowledge.services), "0-0")
        self._service = {stream_of(service).encode(): service for service in knowledge.services}
        self.reconnects = 0

    async def run(self) -> None:
        """Until cancelled."""
        pause = 0.02
        while True:
            heard = False
            with contextlib.suppress(*REDIS_ERRORS, OSError, TimeoutError):
                async with contextlib.aclosing(self._listen()) as replies:
                    async for fresh in replies:
                        heard = heard or fresh
            self._knowledge.mind_the_clock()
            self.reconnects += 1
            pause = 0.02 if heard else min(pause * 2, 0.5)
            await asyncio.sleep(pause)

    async def _listen(self) -> AsyncGenerator[bool]:
        """On one connection. Yields after each reply whether it brought something; ends when nothing came for too
        long."""
        loop = asyncio.get_running_loop()
        link = await dial(self._address, next(iter(self._last), "").encode(), name="cloudphone-feed")
        try:
            brought = loop.time()
            while loop.time() - brought < self._quiet:
                items = await self._read(link)
                yield items > 0
                if items:
                    close, brought = loop.time() - brought < _CLOSE_SECONDS, loop.time()
                    if close or items >= _MANY:
                        # What comes within this time comes in one reply: waking up costs more than hearing.
                        await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            link.close()

    async def _read(self, link: Link) -> int:
        """How many items the next reply brought."""
        async with asyncio.timeout(self._read_timeout):
            reply = await link.ask(
                "XREAD", "COUNT", _READ, "BLOCK", self._block_ms, "STREAMS", *self._last, *self._last.values()
            )
        self._knowledge.connection_answered()
        streams = cast("list[tuple[bytes, list[_Raw]]]", reply or [])
        for stream, entries in streams:
            await self._hear_by_portions(stream, entries)
        return sum(len(entries) for _, entries in streams)

    async def _hear_by_portions(self, stream: bytes, entries: "list[_Raw]") -> None:
        """Others have the loop in between: what was heard is whole after any change. They get the most of it; the
        longer their turns, the larger the portions, so that a busy process falls no further behind than an idle one."""
        portion, start = _PORTION, 0
        while start < len(entries):
            began = time.perf_counter()
            if len(entries) > _PORTION:
                await asyncio.sleep(0)
            turned = time.perf_counter()
            self._hear(stream, entries[start : start + portion])
            start += portion
            wanted = (turned - began) * _SHARE / (time.perf_counter() - turned)
            portion = max(_PORTION, round(portion * wanted))

    def _hear(self, stream: bytes, entries: "list[_Raw]") -> None:
        service = self._service[stream]
        hear_change, hear_beat = self._knowledge.hear_change, self._knowledge.hear_beat
        for item, fields in entries:
            if item.endswith(b"-0"):
                if len(fields) == 2 and fields[0] != _EMPTY:  # as a rule
                    hear_change(service, int(item[:-2]), {fields[0].decode(): int(fields[1])})
                else:
                    hear_change(service, int(item[:-2]), _entities(fields))
            else:
                seq, _, t_ms = item.partition(b"-")
                hear_beat(service, int(seq), int(t_ms))
        self._last[stream.decode()] = entries[-1][0].decode()


_Raw = tuple[bytes, list[bytes]]
"""An item of a stream: its id, and its fields' names and values in turn."""


def _entities(fields: list[bytes]) -> dict[str, int]:
    return {fields[at].decode(): int(fields[at + 1]) for at in range(0, len(fields), 2) if fields[at] != _EMPTY}
