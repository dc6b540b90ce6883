"""Passwords: argon2id, in threads, a few at once, and as much work for an address that nobody has."""

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloudphone_shared.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

_WAITING = 100
_STRENGTH = PasswordHasher(time_cost=2, memory_cost=46 * 1024, parallelism=1)
"""Twice the work that OWASP asks for at this memory (46 MiB). One lane: several would fight over the same cores."""


class Passwords:
    """A hash takes tens of milliseconds of a core and 46 MiB, so at most `at_once` are computed together.

    Raises Unavailable when a hundred are under way or waiting: a flood of sign-ins must not exhaust the process.
    """

    def __init__(self, hasher: PasswordHasher | None = None, *, at_once: int | None = None) -> None:
        self._hasher = hasher or _STRENGTH
        self._threads = ThreadPoolExecutor(at_once or min(4, os.cpu_count() or 1), thread_name_prefix="passwords")
        self._waiting = 0
        self._nobodys: str | None = None

    async def prepare(self) -> None:
        """Makes the hash that an unknown address is checked against."""
        self._nobodys = self._nobodys or await self.hash(secrets.token_urlsafe(24))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._in_thread(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether `hashed` is the password's; with None it is not, after the same work."""
        await self.prepare()
        return await self._in_thread(self._verify, password, hashed or self._nobodys or "") and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, password: str, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        if self._waiting >= _WAITING:
            raise Unavailable("user", "too many passwords are being checked at once")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(work, *arguments, **named))
        finally:
            self._waiting -= 1
