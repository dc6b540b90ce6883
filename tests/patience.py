"""The product's patience, lengthened for tests that are about something else.

In production a Redis that takes 50 ms is passed over, a feed that is 2 s behind proves nothing, a service that takes
2 s is away. A machine that stands still for some seconds must not make that of a test about views and writes. Tests of
the limits themselves set them by name.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from cloudphone_cache import announcing, board, feed, redis, showing
from cloudphone_cache.aggregation import Cache
from cloudphone_cache.platform import filling_routes
from cloudphone_cache.redis import Address, dial, patient_client
from cloudphone_shared.bus.nats import NatsBus
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import engine, migrations
from cloudphone_shared.http.breaker import Breaker
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.http.edge import Edge

PATIENT_SECONDS = 60.0


@contextmanager
def patience() -> Generator[None]:
    """Who is made within waits a minute for a connection, an answer, a confirm, a request's end: on a machine that
    stalls nothing is away. What refuses at once is away as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CONNECT_SECONDS", PATIENT_SECONDS)
        patch.setattr(engine, "POOL_WAIT_SECONDS", PATIENT_SECONDS)
        patch.setattr(migrations, "CONNECT_SECONDS", PATIENT_SECONDS)
        patch.setitem(Edge.__init__.__kwdefaults__, "deadline_seconds", PATIENT_SECONDS)
        patch.setitem(NatsBus.__init__.__kwdefaults__, "patience", PATIENT_SECONDS)
        for client in (CoreClients, ServiceClient):
            patch.setitem(client.__init__.__kwdefaults__, "timeout", PATIENT_SECONDS)
        patch.setitem(ServiceClient.__init__.__kwdefaults__, "write_timeout", PATIENT_SECONDS)
        patch.setitem(Breaker.__init__.__kwdefaults__, "slow", PATIENT_SECONDS)
        yield


@contextmanager
def patient_caches() -> Generator[None]:
    """So do the caches made within, and all that they ask of Redis; a feed may be a minute behind."""

    def client(address: Address, *, read_timeout: float, name: str = "cloudphone") -> Any:
        return patient_client(address, read_timeout=PATIENT_SECONDS, name=name)

    with patience(), pytest.MonkeyPatch.context() as patch:
        of_caches = {"allowed_age": 1.0, "budget_ms": 1000.0, "lease_ms": 1000}
        for name, unit in of_caches.items():
            patch.setitem(Cache.__init__.__kwdefaults__, name, type(unit)(PATIENT_SECONDS * unit))
        for function in (Cache.listening, board.Board.ask, dial):
            patch.setitem(function.__kwdefaults__, "within", PATIENT_SECONDS)
        patch.setitem(patient_client.__kwdefaults__, "connect_timeout", PATIENT_SECONDS)
        for module in (announcing, board, feed, showing):
            patch.setattr(module, "patient_client", client)
        patch.setattr(filling_routes, "_BATCH_SECONDS", PATIENT_SECONDS)
        patch.setattr(redis, "_SENTINEL_SECONDS", PATIENT_SECONDS)
        patch.setattr(board, "_PARTING_SECONDS", PATIENT_SECONDS)
        yield
