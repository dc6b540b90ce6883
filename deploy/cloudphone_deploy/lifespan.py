"""An ASGI app's lifespan, entered and left by us: a failed start is an error here, and never ignored."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


class StartFailed(Exception):
    """The app refused to start; its own message, or that of what it raised."""


@asynccontextmanager
async def started(app: Any) -> AsyncGenerator[None]:
    """Runs `app` between its start and its shutdown. Raises StartFailed, from what the app raised."""
    span = _Lifespan(app)
    await span.startup()
    try:
        yield
    finally:
        await span.shutdown()


class _Lifespan:
    def __init__(self, app: Any) -> None:
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.ensure_future(app(scope, self._inbox.get, self._replies.put))

    async def startup(self) -> None:
        await self._ask("startup")

    async def shutdown(self) -> None:
        if not self._task.done():
            await self._ask("shutdown")
            await self._task

    async def _ask(self, step: str) -> None:
        await self._inbox.put({"type": f"lifespan.{step}"})
        reply = asyncio.ensure_future(self._replies.get())
        await asyncio.wait([reply, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            reply.cancel()
            raise StartFailed(f"its lifespan ended before {step}") from self._task.exception()
        if reply.result()["type"] != f"lifespan.{step}.complete":
            await asyncio.wait([self._task])
            error = None if self._task.cancelled() else self._task.exception()
            raise StartFailed(reply.result().get("message") or f"{step} failed") from error
