"""Litestar on granian (uvloop), its ResponseCache in its RedisStore.

The whole response is cached for 300 s and deleted on events of its device, its apps and its use. Checked: the token as
in `Tokens`; the caller's requests counted in Redis (one fixed window, one round trip of its own). Litestar's own rate
limit is not used: it holds one lock per process over two round trips, so 64 connections would wait for each other.
Not checked: sessions ended early, who may see which device, versions. Stale for up to 300 s after a change of the
owner, and after a deletion that crosses a composition in progress.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, NotFoundException, TooManyRequestsException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from litestar.stores.redis import RedisStore
from redis.asyncio import Redis

from .upstream import LIMIT_PER_SECOND, TTL_SECONDS, Tokens, Upstream, on_change

redis = Redis.from_url(os.environ["PEER_REDIS_URL"])
store = RedisStore(redis, namespace="peer-litestar", handle_client_shutdown=True)
upstream, tokens = Upstream(msgspec.json.decode), Tokens()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    async def forget(device_id: str) -> None:
        await store.delete(f"GET/devices/{device_id}")
        await store.delete(f"GET/checked/devices/{device_id}")

    await upstream.open()
    stop = await on_change(forget)
    yield
    await stop()
    await upstream.close()


async def admitted(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    caller = tokens.caller(connection.headers.get("authorization", ""))
    if caller is None:
        raise NotAuthorizedException
    async with redis.pipeline(transaction=False) as pipe:
        pipe.incr(f"peer-litestar:limit:{caller}")
        pipe.expire(f"peer-litestar:limit:{caller}", 1, nx=True)
        counted, _ = await pipe.execute()
    if counted > LIMIT_PER_SECOND:
        raise TooManyRequestsException


@get("/devices/{device_id:uuid}", cache=TTL_SECONDS)
async def show_device(device_id: FromPath[UUID]) -> Response[bytes]:
    found = await upstream.device_full(str(device_id))
    if found is None:
        raise NotFoundException
    return Response(msgspec.json.encode(found), media_type="application/json")


@get("/health")
async def health() -> dict[str, bool]:
    return {"ready": True}


checked = Router("/checked", route_handlers=[show_device], guards=[admitted])
app = Litestar(
    [show_device, checked, health],
    lifespan=[lifespan],
    stores={"response_cache": store},
    response_cache_config=ResponseCacheConfig(),
    openapi_config=None,
)
