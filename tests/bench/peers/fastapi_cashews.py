"""FastAPI on uvicorn (uvloop, httptools), cached with cashews in Redis.

The composed screen is cached as JSON bytes for 300 s and deleted on events of its device, its apps and its use.
Checked: the token as in `Tokens`; the caller's requests counted with cashews' own rate limit (one fixed window; one
round trip of its own). Not checked: sessions ended early, who may see which device, versions. Stale for up to 300 s
after a change of the owner, and after a deletion that crosses a composition in progress.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import orjson
from cashews import RateLimitError, cache
from fastapi import Depends, FastAPI, Header, HTTPException, Response

from .upstream import LIMIT_PER_SECOND, TTL_SECONDS, Tokens, Upstream, on_change

cache.setup(os.environ["PEER_REDIS_URL"])
upstream, tokens = Upstream(orjson.loads), Tokens()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await upstream.open()
    stop = await on_change(lambda device_id: cache.delete(f"peer-fastapi:device:{device_id}"))
    yield
    await stop()
    await upstream.close()
    await cache.close()


app = FastAPI(lifespan=lifespan)


@cache(ttl=TTL_SECONDS, key="peer-fastapi:device:{device_id}")
async def device_full(device_id: UUID) -> bytes | None:
    found = await upstream.device_full(str(device_id))
    return None if found is None else orjson.dumps(found)


@cache.rate_limit(limit=LIMIT_PER_SECOND, period=1, key="peer-fastapi:limit:{caller}")
async def count(caller: str) -> None:
    pass


async def admitted(authorization: Annotated[str, Header()] = "") -> None:
    caller = tokens.caller(authorization)
    if caller is None:
        raise HTTPException(401)
    try:
        await count(caller)
    except RateLimitError:
        raise HTTPException(429) from None


@app.get("/devices/{device_id}")
@app.get("/checked/devices/{device_id}", dependencies=[Depends(admitted)])
async def show_device(device_id: UUID) -> Response:
    body = await device_full(device_id)
    if body is None:
        raise HTTPException(404)
    return Response(body, media_type="application/json")


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ready": True}
