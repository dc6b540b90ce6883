"""All core services, as a BFF or another service asks them with its own token."""

from collections.abc import Callable
from types import TracebackType

import httpx

from ..auth import ServiceIdentity
from ..http.breaker import Breaker
from ..http.client import OnAnswer, ServiceClient
from .app import AppClient
from .billing import BillingClient
from .device import DeviceClient
from .scheduler import SchedulerClient
from .user import UserClient

SERVICES = ("user", "device", "app", "billing")
"""Whose changes the cache hears. The scheduler is asked directly: nothing of it is cached."""
_LIVE_SECONDS = 4.5
"""That a phone may take to answer."""


def _nobody(service: str, entities: object, seq: int | None) -> None:
    pass


class CoreClients:
    """`url_of` gives each service's base URL; `transport_of`, where given, the transport to reach it by.

    Calls that name no bearer are made with `identity`'s token; every answer is told to `on_answer`.
    """

    def __init__(
        self,
        url_of: Callable[[str], str],
        identity: ServiceIdentity,
        *,
        on_answer: OnAnswer = _nobody,
        timeout: float = 2.0,
        concurrency: int = 64,
        transport_of: Callable[[str], httpx.AsyncBaseTransport | None] = lambda service: None,
    ) -> None:
        self.identity = identity

        def ask(service: str, seconds: float = timeout, breaker: Breaker | None = None) -> ServiceClient:
            return ServiceClient(
                service,
                url_of(service),
                bearer=identity.token,
                on_answer=on_answer,
                on_unauthorized=identity.forget,
                timeout=seconds,
                concurrency=concurrency,
                transport=transport_of(service),
                breaker=breaker,
            )

        self.user = UserClient(ask("user"))
        self.device = DeviceClient(ask("device"), live=ask("device", _LIVE_SECONDS, Breaker(slow=_LIVE_SECONDS)))
        self.app = AppClient(ask("app"))
        self.billing = BillingClient(ask("billing"))
        self.scheduler = SchedulerClient(ask("scheduler"))

    async def __aenter__(self) -> "CoreClients":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in (self.user.http, self.device, self.app.http, self.billing.http, self.scheduler.http):
            await client.close()
        await self.identity.close()
