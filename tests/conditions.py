"""Waiting for what is bound to become true, without sleeping for a guess."""

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")
ROUNDS = 8


async def eventually(condition: Callable[[], T | Awaitable[T]], within: float = 60.0, every: float = 0.01) -> T:
    """The first truthy answer of `condition` (sync or async). Fails after `within` seconds, telling the last answer."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer  # pyright: ignore[reportReturnType]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {inspect.getsource(condition).strip()} (last: {answer!r})")
        await anyio.sleep(every)


async def in_one_round(attempt: Callable[[], Awaitable[bool]], rounds: int = ROUNDS) -> bool:
    """For what a stall of the machine may spoil: whether it holds once. What is broken holds never."""
    for _ in range(rounds):
        if await attempt():
            return True
    return False
