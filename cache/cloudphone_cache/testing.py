"""For tests: a clock that is moved by hand, and stores that are in memory, broken or slow."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from .entry import FULL
from .pipelined import Later
from .redis import RedisAway
from .store import Store


class Clock:
    """Seconds since 1970, as far as moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


class MemoryStore:
    """What Redis would do for one process, without Redis. Several caches may share one."""

    available = True

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.leases: dict[str, str] = {}
        self.gets = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None:
        self.gets += 1
        return self.values.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.gets += 1
        return [self.values.get(key) for key in keys]

    async def put(self, key: str, value: bytes, life_ms: int, *, partial: bool = False) -> object:
        if partial and self.values.get(key, b"")[:1] == FULL:
            return 0
        self.values[key] = value
        return 1

    async def take(self, key: str, holder: str, life_ms: int) -> tuple[bool, bytes | None]:
        mine = self.leases.setdefault(key, holder) == holder
        return mine, self.values.get(key)

    async def release(self, key: str, holder: str) -> object:
        if self.leases.get(key) == holder:
            del self.leases[key]
        return None

    async def drop(self, key: str) -> object:
        return int(self.values.pop(key, None) is not None)

    async def ask(self, key: bytes, packed: bytes) -> Any:
        return 0

    def later(self, key: bytes, packed: bytes) -> Later:
        reply = Later()
        reply.settle(0)
        return reply

    async def everywhere(self, packed: bytes) -> None: ...


class BrokenStore(MemoryStore):
    """Away, while `broken`."""

    def __init__(self, *, broken: bool = True) -> None:
        super().__init__()
        self.broken = broken

    @property
    def available(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.broken

    def _check(self) -> None:
        if self.broken:
            raise RedisAway("broken by the test")

    async def get(self, key: str) -> bytes | None:
        self._check()
        return await super().get(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self._check()
        return await super().get_many(keys)

    async def put(self, key: str, value: bytes, life_ms: int, *, partial: bool = False) -> object:
        self._check()
        return await super().put(key, value, life_ms, partial=partial)

    async def take(self, key: str, holder: str, life_ms: int) -> tuple[bool, bytes | None]:
        self._check()
        return await super().take(key, holder, life_ms)

    async def release(self, key: str, holder: str) -> object:
        self._check()
        return await super().release(key, holder)

    async def drop(self, key: str) -> object:
        self._check()
        return await super().drop(key)

    async def ask(self, key: bytes, packed: bytes) -> Any:
        self._check()
        return await super().ask(key, packed)

    def later(self, key: bytes, packed: bytes) -> Later:
        self._check()
        return super().later(key, packed)

    async def everywhere(self, packed: bytes) -> None:
        self._check()


class SlowStore:
    """Another store, each answer `seconds` later."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self.seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def _slowly(self, answer: Awaitable[Any]) -> Any:
        await asyncio.sleep(self.seconds)
        return await answer

    def get(self, key: str) -> Awaitable[bytes | None]:
        return self._slowly(self._store.get(key))

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        return self._slowly(self._store.get_many(keys))

    def put(self, key: str, value: bytes, life_ms: int, *, partial: bool = False) -> Awaitable[object]:
        return self._slowly(self._store.put(key, value, life_ms, partial=partial))

    def take(self, key: str, holder: str, life_ms: int) -> Awaitable[tuple[bool, bytes | None]]:
        return self._slowly(self._store.take(key, holder, life_ms))
