"""A browser at one BFF process, without a network between."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from cloudphone_deploy.lifespan import started
from tests.in_process import KEYS, Services


class Console:
    """A browser at one BFF process. `root` asks unless another's headers are given as `by`."""

    def __init__(self, http: httpx.AsyncClient, services: Services, app: Any) -> None:
        self.http, self.services, self.app = http, services, app

    @property
    def cache(self) -> Any:
        return self.app.cache

    async def ask(
        self, method: str, path: str, body: object = None, *, by: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        """`headers` in the manner of `if_match="…"`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None
        if body is not None:
            content, more["Content-Type"] = json.dumps(body), "application/json"
        sent = {**(self.services.root if by is None else by), **more}
        return await self.http.request(method, path, content=content, headers=sent)

    async def get(self, path: str, *, by: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        return await self.ask("GET", path, by=by, **headers)

    async def seen(self, path: str, *, by: dict[str, str] | None = None, **headers: str) -> Any:
        """The body of a view that must be there."""
        answer = await self.get(path, by=by, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def console_of(
    create_app: Callable[..., Any], services: Services, redis_url: str, *, wait: bool = True, **settings: str
) -> AsyncIterator[Console]:
    """One BFF process and its browser; `settings` by variable, in lower case and without the prefix.

    It is there once it hears the feeds, unless it is told not to `wait` for them.
    """
    env = {
        **KEYS, "CLOUDPHONE_REDIS_URL": redis_url, "CLOUDPHONE_REDIS_BUDGET_MS": "120000",
        **{f"CLOUDPHONE_{name.upper()}": value for name, value in settings.items()},
    }  # fmt: skip
    app = create_app(env=env, transport_of=services.transport_of)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(app))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://bff.test"))
        http.cookies.jar.set_policy(_NoCookies())
        console = Console(http, services, app)
        if wait:
            assert await console.cache.listening(within=120.0)
            # A token makes it ask for the keys, once: nobody counts that call as his own.
            await console.get("/admin/cache/feed")
        yield console


class _NoCookies:
    """A client that keeps no cookies, so that each test says itself what it brings along."""

    netscape = True
    rfc2965 = hide_cookie2 = False

    def set_ok(self, *_: object) -> bool:
        return False

    return_ok = domain_return_ok = path_return_ok = set_ok
