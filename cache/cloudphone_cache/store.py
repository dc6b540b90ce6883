"""L2: what the cache asks of Redis, one command each."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from .cluster import Redis
from .pipelined import Later
from .redis import pack

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
# A partial view never replaces a full one: that holds the last good data.
_PUT_PARTIAL = """
if redis.call('GETRANGE', KEYS[1], 0, 0) == 'F' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class Store(Protocol):
    """Everything may raise RedisAway or RedisRefused, when called or when awaited."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def available(self) -> bool:
        """Whether asking is worth the while now."""
        ...

    def get(self, key: str) -> Awaitable[bytes | None]: ...

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]: ...

    def put(self, key: str, value: bytes, life_ms: int, *, partial: bool = False) -> Awaitable[object]:
        """A partial value is not stored over a full one."""
        ...

    def take(self, key: str, holder: str, life_ms: int) -> Awaitable[tuple[bool, bytes | None]]:
        """Whether the lease is `holder`'s now, and what is stored: read after the lease was asked for."""
        ...

    def release(self, key: str, holder: str) -> Awaitable[object]:
        """Of a lease that is not `holder`'s, nothing."""
        ...

    def drop(self, key: str) -> Awaitable[object]: ...

    def ask(self, key: bytes, packed: bytes) -> Awaitable[Any]:
        """Another's command; `key` says which node."""
        ...

    def later(self, key: bytes, packed: bytes) -> Later:
        """Another's command (the limiter's), sent in the same write as what is asked next."""
        ...

    async def everywhere(self, packed: bytes) -> None:
        """A command for every node, such as SCRIPT LOAD."""
        ...


class RedisStore:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def start(self) -> None:
        await self.redis.start()

    async def close(self) -> None:
        await self.redis.close()

    @property
    def available(self) -> bool:
        return self.redis.available

    def get(self, key: str) -> "asyncio.Future[bytes | None]":
        raw = key.encode()
        return self.redis.send(raw, b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(raw), raw))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self.redis.get_many([key.encode() for key in keys])

    def put(self, key: str, value: bytes, life_ms: int, *, partial: bool = False) -> "asyncio.Future[Any]":
        raw = key.encode()
        if partial:
            return self.redis.send(raw, pack("EVAL", _PUT_PARTIAL, 1, raw, value, life_ms))
        return self.redis.send(raw, pack("SET", raw, value, "PX", life_ms))

    async def take(self, key: str, holder: str, life_ms: int) -> tuple[bool, bytes | None]:
        # In one write, in this order: whoever gets the lease has seen what its last holder stored.
        raw = _lease_key(key)
        taken = self.redis.send(raw, pack("SET", raw, holder, "NX", "PX", life_ms))
        stored = self.get(key)
        return await taken is not None, await stored

    def release(self, key: str, holder: str) -> "asyncio.Future[Any]":
        raw = _lease_key(key)
        return self.redis.send(raw, pack("EVAL", _RELEASE, 1, raw, holder))

    def drop(self, key: str) -> "asyncio.Future[Any]":
        raw = key.encode()
        return self.redis.send(raw, pack("DEL", raw))

    def ask(self, key: bytes, packed: bytes) -> "asyncio.Future[Any]":
        return self.redis.send(key, packed)

    def later(self, key: bytes, packed: bytes) -> Later:
        return self.redis.later(key, packed)

    async def everywhere(self, packed: bytes) -> None:
        await self.redis.everywhere(packed)


def _lease_key(key: str) -> bytes:
    # The braces put it into the slot of its view.
    return f"lease:{{{key}}}".encode()
