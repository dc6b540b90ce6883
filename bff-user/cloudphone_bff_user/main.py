"""The user BFF's process: makes the clients and the cache from the settings, and wires them."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
from litestar import Litestar

from cloudphone_cache import Cache, observed
from cloudphone_cache.platform.front import ViewsApp
from cloudphone_cache.platform.serving import Gate
from cloudphone_shared import entities
from cloudphone_shared.auth import JWKS_PATH, Caller, ServiceIdentity, TokenVerifier
from cloudphone_shared.clients import SERVICES, CoreClients
from cloudphone_shared.contracts.examples import EXAMPLES
from cloudphone_shared.errors import DomainError, NotFound, Unauthorized, Unavailable
from cloudphone_shared.http.context import request_id
from cloudphone_shared.limits import Limiter
from cloudphone_shared.settings import Auth, Front, Limits, Network, Redis, load

from .documents import DOCUMENTS
from .live.sockets import PACE, Live, Pace
from .live.streams import Streams
from .portal import sees
from .routes import HANDLERS, VIEWS
from .warmup import candidates

NAME = "bff-user"


def create_app(
    *,
    env: Mapping[str, str] | None = None,
    transport_of: Callable[[str], httpx.AsyncBaseTransport | None] = lambda service: None,
    clock: Callable[[], float] = time.time,
    pace: Pace = PACE,
) -> ViewsApp:
    """Settings come from `env`, or the environment; services are reached by `transport_of` where it gives one."""
    network, auth, redis = load(Network, env=env), load(Auth, env=env), load(Redis, env=env)
    user_url, to_user = network.url_of("user"), transport_of("user")
    identity = ServiceIdentity(NAME, auth.secret_of(NAME), user_url, clock=clock, transport=to_user)
    core = CoreClients(network.url_of, identity, on_answer=observed, transport_of=transport_of)
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

    verifier = TokenVerifier(user_url + JWKS_PATH, clock=clock, transport=to_user)
    limits = load(Limits, env=env)
    counted = Gate(Limiter(limits.rate_limits, limits.rate_limits_by_role), cache)

    async def identify(token: str) -> Caller:
        """Counts as a request. Raises Unauthorized, LimitExceeded, Unavailable."""
        caller = await verifier.verify(b"Bearer " + token.encode())
        if caller.kind != "user" or not still_valid(caller):
            raise Unauthorized("The session was closed")
        await counted.admit(caller, {})  # type: ignore[arg-type]
        return caller

    live = Live(Streams(redis.redis_url), identify, still_valid, pace=pace, clock=clock)

    @asynccontextmanager
    async def telling(app: Litestar) -> AsyncGenerator[None]:
        async with live.opened():
            yield

    @asynccontextmanager
    async def clients(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            # At once rather than at the first miss; without the user service, then.
            with suppress(Unavailable):
                await identity.token()
            yield

    return ViewsApp(
        NAME,
        HANDLERS,
        cache,
        verifier=verifier,
        limits=limits,
        front=load(Front, env=env),
        sees=sees,
        still_valid=still_valid,
        candidates=partial(candidates, core),
        provide={"core": core, "live": live},
        openapi=DOCUMENTS,
        examples=EXAMPLES,
        lifespan=[clients, telling],
    )
