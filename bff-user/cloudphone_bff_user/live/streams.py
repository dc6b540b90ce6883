"""Each customer's stream of messages in Redis, and the one that says whose has grown."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError

from cloudphone_cache.redis import parse, patient_client
from cloudphone_shared.errors import Unavailable

from .messages import Told

KEPT = 1_000
"""Messages a customer can come back for, and how long."""
KEPT_MS = 24 * 3600 * 1000
_GROWN = "{my-events}:grown"
_GROWN_KEPT = 10_000
_WAIT_MS = 1_000

# What an owner announced is numbered without a gap, so a number that is not higher was written before.
_WRITE = """
local stream, heard, added = KEYS[1], KEYS[2], 0
for i = 3, #ARGV, 3 do
  local source, seq = ARGV[i], tonumber(ARGV[i + 1])
  if seq > tonumber(redis.call('HGET', heard, source) or '0') then
    redis.call('XADD', stream, 'MAXLEN', ARGV[1], '*', 'm', ARGV[i + 2])
    redis.call('HSET', heard, source, ARGV[i + 1])
    added = added + 1
  end
end
redis.call('PEXPIRE', stream, ARGV[2])
redis.call('PEXPIRE', heard, ARGV[2])
return added
"""
_ENTER = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == false and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Entry(msgspec.Struct, frozen=True):
    """A message without its id; empty where the stream was only begun."""

    id: str
    message: bytes


class Streams:
    """Raises Unavailable while Redis is away."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = patient_client(parse(redis_url), read_timeout=5.0, name="my-events")

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def write(self, of_users: Mapping[str, Sequence[Told]]) -> None:
        """Each user's in their order; what was written before is passed over. Then says whose streams have grown."""
        async with _outages():
            for user, messages in of_users.items():
                arguments: list[Any] = [KEPT, KEPT_MS]
                for told in messages:
                    arguments += [told.source, told.seq, told.message]
                await self._redis.eval(_WRITE, 2, _stream(user), f"my-events-heard:{{{user}}}", *arguments)
            if of_users:
                users = ",".join(of_users)
                await self._redis.xadd(_GROWN, {"u": users}, maxlen=_GROWN_KEPT, approximate=True)

    async def last(self, user: str) -> str:
        """The place of the latest message. A stream without any gets an empty one, so that a place is always one that
        can be found again, or was lost."""
        async with _outages():
            found = await self._redis.xrevrange(_stream(user), count=1)
            if found:
                return found[0][0].decode()
            place = await self._redis.xadd(_stream(user), {"m": b""})
            await self._redis.pexpire(_stream(user), KEPT_MS)
            return place.decode()

    async def after(self, user: str, place: str, count: int) -> list[Entry] | None:
        """The messages that follow `place`, `count` at most; None where it is there no more, so that some may be
        missing."""
        async with _outages():
            found = await self._redis.xrange(_stream(user), min=place, count=count + 1)
        if not found or found[0][0].decode() != place:
            return None
        return [Entry(where.decode(), fields[b"m"]) for where, fields in found[1:]]

    async def newest_growth(self) -> str:
        async with _outages():
            found = await self._redis.xrevrange(_GROWN, count=1)
        return found[0][0].decode() if found else "0-0"

    async def grown(self, since: str) -> tuple[str, set[str]]:
        """Whose streams have grown since that place in the list of growths, and the place for the next call. Waits for
        a second."""
        async with _outages():
            found = await self._redis.xread({_GROWN: since}, block=_WAIT_MS, count=1_000)
        users: set[str] = set()
        for _, entries in found or ():
            for place, fields in entries:
                since = place.decode()
                users.update(fields[b"u"].decode().split(","))
        return since, users

    async def enter(self, user: str, socket: str, most: int, life_seconds: float) -> bool:
        """Counts a socket over all processes, for `life_seconds` or until it is entered again; False above `most`."""
        async with _outages():
            entered = await self._redis.eval(_ENTER, 1, _sockets(user), socket, most, int(life_seconds * 1000))
        return bool(entered)

    async def leave(self, user: str, sockets: Iterable[str]) -> None:
        async with _outages():
            await self._redis.zrem(_sockets(user), *sockets)


def _stream(user: str) -> str:
    return f"my-events:{{{user}}}"


def _sockets(user: str) -> str:
    return f"my-sockets:{{{user}}}"


@contextlib.asynccontextmanager
async def _outages() -> AsyncGenerator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("redis", repr(error)) from error
