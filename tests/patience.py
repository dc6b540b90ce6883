"""For tests that run services in their own process."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from cloudphone_shared.bus.nats import NatsBus
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import engine
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
        patch.setitem(Edge.__init__.__kwdefaults__, "deadline_seconds", PATIENT_SECONDS)
        patch.setitem(NatsBus.__init__.__kwdefaults__, "patience", PATIENT_SECONDS)
        for client in (CoreClients, ServiceClient):
            patch.setitem(client.__init__.__kwdefaults__, "timeout", PATIENT_SECONDS)
        yield
