"""The admin BFF as it is, with routes beside it to hold its hits against. One process, one port.

`python -m tests.bench.server PORT l1|l2`: with `l2` the process's own layer holds nothing.

/bench/constant            a Litestar route that answers a view's bytes, nothing checked
/bench/constant-checked    the same, with token and limit checked as for a hit
/bench/unchecked/<id>      the view through the cache, neither token nor limit checked
/bench/redis-py/<id>       the view read through redis-py, with token and limit checked through redis-py
"""

import hashlib
import json
import os
import sys
from typing import Any

import httpx
import redis.asyncio as redis_py
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from httpx_aiohttp import AiohttpTransport
from litestar import Litestar, get
from litestar.types import ASGIApp
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cloudphone_bff_admin.main import create_app
from cloudphone_bff_admin.views.device_full import device_full
from cloudphone_cache.entry import load as load_entry
from cloudphone_deploy.lifespan import started
from cloudphone_deploy.processes import settle_memory
from cloudphone_shared.auth import JWKS_PATH, TokenVerifier
from cloudphone_shared.limits import Limiter
from cloudphone_shared.settings import Network, Redis, load


class Ready:
    """A response made once."""

    def __init__(self, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
        self._start = {"type": "http.response.start", "status": status, "headers": fields}
        self._body = {"type": "http.response.body", "body": body, "more_body": False}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send(self._start)
        await send(self._body)


REFUSED, LIMITED, ABSENT = Ready(b"{}", 401), Ready(b"{}", 429), Ready(b"{}", 404)


class PublishedToo(httpx.AsyncBaseTransport):
    """The real services; the user service also publishes the benchmark's key, so that it can sign 5,000 callers."""

    def __init__(self, key: dict[str, str]) -> None:
        self._real = AiohttpTransport()
        self._key = key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._real.handle_async_request(request)
        if request.url.path != JWKS_PATH:
            return answer
        published = json.loads(await answer.aread())
        published["keys"].append(self._key)
        return httpx.Response(200, json=published)


class Beside:
    """The comparison routes in front of the product, in the same process and server."""

    def __init__(self, product: Any, constant: Any, transport: httpx.AsyncBaseTransport, body: bytes) -> None:
        self._product = product
        self._constant = constant
        self._verifier = TokenVerifier(load(Network).url_of("user") + JWKS_PATH, transport=transport)
        self._script = hashlib.sha1(Limiter.script.encode()).hexdigest()
        self._limiter = Limiter(os.environ["CLOUDPHONE_RATE_LIMITS"], prefix="bench:")
        pool = redis_py.BlockingConnectionPool.from_url(
            load(Redis).redis_url, max_connections=64, timeout=2, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._redis_py = redis_py.Redis(connection_pool=pool)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope.get("path", "")
        if not path.startswith("/bench/"):
            await self._product(scope, receive, send)
            return
        if path == "/bench/constant":
            await self._constant(scope, receive, send)
            return
        if path.startswith("/bench/unchecked/"):
            params = {"device_id": path.rpartition("/")[2]}
            served = await self._product.cache.read(device_full, params, lambda audience: True)
            await served(scope, receive, send)
            return
        answer = await self._checked(scope, path)
        await answer(scope, receive, send)

    async def _checked(self, scope: Any, path: str) -> Any:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        caller = self._verifier.known(header) or await self._verifier.verify(header)
        if caller is None:
            return REFUSED
        subject = self._limiter.subject(caller.id, caller.role)
        if path == "/bench/constant-checked":
            store = self._product.cache.store
            return LIMITED if await store.ask(subject.key.encode(), subject.command) else self._constant
        windows = [round(part) for rate in subject.rates for part in (rate.count, rate.seconds * 1e6)]
        if await self._redis_py.evalsha(self._script, 1, subject.key, *windows):
            return LIMITED
        stored = await self._redis_py.get(device_full.key_of({"device_id": path.rpartition("/")[2]}))
        entry = load_entry(stored, device_full.schema) if stored else None
        return ABSENT if entry is None else Ready(entry.body, 200, (b"etag", entry.etag))


async def main(port: int, layer: str) -> None:
    body = b"x" * int(os.environ["BENCH_BODY_BYTES"])
    constant_answer = Ready(body)

    @get("/bench/constant")
    async def constant() -> ASGIApp:
        return constant_answer

    @get("/bench/constant-checked")
    async def constant_checked() -> ASGIApp:
        return constant_answer

    transport = PublishedToo(json.loads(os.environ["BENCH_JWK"]))
    product = create_app(transport_of=lambda service: transport if service == "user" else None)
    if layer == "l2":
        product.cache.local._limit = 0
    app = Beside(product, Litestar([constant, constant_checked], openapi_config=None), transport, body)
    async with started(product):
        settle_memory()
        await Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False).serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
