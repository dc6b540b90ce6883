"""The admin BFF's process: opens the cache and the clients, wires them, closes them."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
from litestar import Litestar
from litestar.di import Provide

from cloudphone_cache import Audience, Cache, observed
from cloudphone_cache.filling_routes import FILLING, Warming
from cloudphone_cache.serving import Callers, Frame, Gate, screens_of
from cloudphone_shared import entities
from cloudphone_shared.auth import JWKS_PATH, Caller, ServiceIdentity, TokenVerifier
from cloudphone_shared.clients import SERVICES, CoreClients
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.errors import DomainError, NotFound, Unavailable
from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.http.operations import name_version
from cloudphone_shared.limits import Limiter
from cloudphone_shared.settings import Auth, Front, Limits, Network, Redis, load

from .documents import DOCUMENTS
from .routes import HANDLERS, VIEWS
from .warmup import candidates

NAME = "bff-admin"

TransportOf = Callable[[str], httpx.AsyncBaseTransport | None]


def sees(caller: Caller, audience: Audience) -> bool:
    """Staff see what is within their data scope; what they may read at all is each route's guard to say."""
    return caller.sees(audience.tenant, audience.owner)


def create_app(
    *,
    env: Mapping[str, str] | None = None,
    transport_of: TransportOf = lambda service: None,
    clock: Callable[[], float] = time.time,
) -> Frame:
    """Settings come from `env`, or the environment; services are reached by `transport_of` where it gives one."""
    network, auth, limits, front = (
        load(Network, env=env),
        load(Auth, env=env),
        load(Limits, env=env),
        load(Front, env=env),
    )
    user_url = network.url_of("user")
    identity = ServiceIdentity(NAME, auth.secret_of(NAME), user_url, clock=clock, transport=transport_of("user"))
    core = CoreClients(network.url_of, identity, on_answer=observed, transport_of=transport_of)
    worker = ServiceClient("cache-worker", network.url_of("cache-worker"), transport=transport_of("cache-worker"))
    redis = load(Redis, env=env)
    cache = Cache(
        VIEWS,
        core,
        redis=redis.redis_url,
        services=SERVICES,
        absent=(NotFound,),
        refused=(DomainError,),
        unavailable=(Unavailable,),
        freshness_key=auth.freshness_key.encode(),
        budget_ms=redis.redis_budget_ms,
        clock=clock,
    )
    gate = Gate(Limiter(limits.rate_limits, limits.rate_limits_by_role), cache)
    callers = Callers(gate, Limiter(limits.login_rate_limits, prefix="login:"), front.trusted_proxies)
    warming = Warming(cache)

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncGenerator[None]:
        async with core, cache:
            await gate.load()
            yield
        await worker.close()

    async def plan(users: int) -> object:
        return await candidates(core, users)

    edge = http_app(
        NAME,
        [*HANDLERS, *FILLING],
        verifier=TokenVerifier(user_url + JWKS_PATH, clock=clock, transport=transport_of("user")),
        lifespan=[opened],
        dependencies={
            "core": given(core),
            "cache": given(cache),
            "warmups": given(WarmupClient(worker)),
            "attempts": given(callers),
            "warming": given(warming),
            "candidates": given(plan),
            "screens": Provide(screens_of(cache, sees)),
            "asked": Provide(list_query),
        },
        openapi=DOCUMENTS,
        body_limit_bytes=limits.body_limit_bytes,
        admit=gate.admit,
        still_valid=lambda caller: (
            not cache.knowledge.outdated({"user": (0, {entities.sessions(caller.id): caller.sessions_version})})
        ),
        after_request=name_version,
    )
    return Frame(edge, cache)


def given(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)
