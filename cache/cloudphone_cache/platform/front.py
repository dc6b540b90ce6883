"""A BFF as an ASGI app: proven hits in front, then what every answer needs, then the edge and the handlers."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler, Receive, Scope, Send

from cloudphone_shared.auth import Caller, TokenVerifier
from cloudphone_shared.http.app import Lifespan
from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.cors import CrossOrigin
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.http.operations import Documentation, name_version
from cloudphone_shared.limits import Limiter
from cloudphone_shared.observability.metrics import settled_by
from cloudphone_shared.settings import Front, Limits

from ..aggregation import Cache
from ..asgi import HotViews
from ..metrics import exported
from ..view import Audience
from .filling_routes import FILLING, Candidates, Warming
from .ledger import FrontLedger
from .serving import Callers, Frame, FrontDoor, Gate, hot_routes, screens_of


class ViewsApp:
    """`cache` is opened and closed with it; `litestar` is the inner app.

    `sees` says whether a caller belongs to an audience, `still_valid` whether a caller's session stands,
    `candidates` what the warm-up should fill. `provide` are what handlers may ask for by name beside `caller`,
    `cache`, `screens`, `asked` (a list's query) and `attempts` (of callers without a token). `examples` illustrate the
    documents.
    """

    def __init__(
        self,
        name: str,
        handlers: Sequence[ControllerRouterHandler],
        cache: Cache,
        *,
        verifier: TokenVerifier,
        limits: Limits,
        front: Front,
        sees: Callable[[Caller, Audience], bool],
        still_valid: Callable[[Caller], bool],
        candidates: Candidates,
        provide: Mapping[str, object],
        openapi: Documentation,
        examples: Iterable[msgspec.Struct] = (),
        lifespan: Sequence[Lifespan] = (),
    ) -> None:
        self.cache = cache
        ledger = FrontLedger(name)
        gate = Gate(Limiter(limits.rate_limits, limits.rate_limits_by_role), cache)
        callers = Callers(gate, Limiter(limits.login_rate_limits, prefix="login:"), front.trusted_proxies)
        given = {"cache": cache, "attempts": callers, "warming": Warming(cache), "candidates": candidates, **provide}

        @asynccontextmanager
        async def opened(app: Litestar) -> AsyncGenerator[None]:
            async with cache:
                await gate.prepare()
                with exported(name, cache), settled_by(ledger.settle):
                    yield

        documents = copy(openapi)
        documents.examples = tuple(examples)
        edge = http_app(
            name,
            [*handlers, *FILLING],
            verifier=verifier,
            lifespan=[*lifespan, opened],
            dependencies={
                "screens": Provide(screens_of(cache, sees)),
                "asked": Provide(list_query),
                **{key: _given(value) for key, value in given.items()},
            },
            openapi=documents,
            body_limit_bytes=limits.body_limit_bytes,
            admit=gate.admit,
            still_valid=still_valid,
            after_request=name_version,
        )
        self.litestar = edge.litestar
        door = FrontDoor(verifier.known, still_valid, sees, gate)
        hot = HotViews(Frame(edge, cache), cache, door, hot_routes(handlers), ledger)
        self._app: Any = CrossOrigin(hot, front.cors_origins) if front.cors_origins else hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _given(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)
