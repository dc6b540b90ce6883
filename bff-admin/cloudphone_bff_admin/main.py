"""The admin BFF's process: makes the clients and the cache from the settings, and wires them."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
from litestar import Litestar

from cloudphone_cache import Audience, Cache, observed
from cloudphone_cache.platform.front import ViewsApp
from cloudphone_shared import entities
from cloudphone_shared.auth import JWKS_PATH, Caller, ServiceIdentity, TokenVerifier
from cloudphone_shared.bus import connect
from cloudphone_shared.clients import SERVICES, CoreClients
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts.examples import EXAMPLES
from cloudphone_shared.errors import DomainError, NotFound, Unavailable
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.http.context import request_id
from cloudphone_shared.settings import Auth, BusSettings, Front, Limits, Network, Redis, load

from .dead_letters import DeadLetters
from .documents import DOCUMENTS
from .routes import HANDLERS, VIEWS
from .warmup import candidates

NAME = "bff-admin"


def sees(caller: Caller, audience: Audience) -> bool:
    """Staff see what is within their data scope; what they may read at all is each route's to say."""
    return caller.sees(audience.tenant, audience.owner)


def create_app(
    *,
    env: Mapping[str, str] | None = None,
    transport_of: Callable[[str], httpx.AsyncBaseTransport | None] = lambda service: None,
    clock: Callable[[], float] = time.time,
) -> ViewsApp:
    """Settings come from `env`, or the environment; services are reached by `transport_of` where it gives one."""
    network, auth, redis = load(Network, env=env), load(Auth, env=env), load(Redis, env=env)
    user_url, to_user = network.url_of("user"), transport_of("user")
    identity = ServiceIdentity(NAME, auth.secret_of(NAME), user_url, clock=clock, transport=to_user)
    core = CoreClients(network.url_of, identity, on_answer=observed, transport_of=transport_of)
    worker = ServiceClient("cache-worker", network.url_of("cache-worker"), transport=transport_of("cache-worker"))
    dead_letters = DeadLetters(partial(connect, load(BusSettings, env=env).bus_url))
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
        name=NAME,
        request_id=request_id.get,
    )

    def still_valid(caller: Caller) -> bool:
        return not cache.knowledge.outdated({"user": (0, {entities.sessions(caller.id): caller.sessions_version})})

    @asynccontextmanager
    async def clients(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            # At once rather than at the first miss; without the user service, then.
            with suppress(Unavailable):
                await identity.token()
            yield
        await worker.close()
        await dead_letters.close()

    return ViewsApp(
        NAME,
        HANDLERS,
        cache,
        verifier=TokenVerifier(user_url + JWKS_PATH, clock=clock, transport=to_user),
        limits=load(Limits, env=env),
        front=load(Front, env=env),
        sees=sees,
        still_valid=still_valid,
        candidates=partial(candidates, core),
        provide={"core": core, "warmups": WarmupClient(worker), "dead_letters": dead_letters},
        openapi=DOCUMENTS,
        examples=EXAMPLES,
        lifespan=[clients],
    )
