"""The billing service's HTTP process."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from litestar import Litestar
from litestar.di import Provide

from cloudphone_shared.auth import JWKS_PATH, ServiceIdentity, TokenVerifier
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Database
from cloudphone_shared.database.changes import changes_route
from cloudphone_shared.database.pagination import Cursors
from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.settings import Auth, Databases, Limits, Network, load

from .models import SCHEMA
from .routes import HANDLERS, Billing

NAME = "billing"


def create_app(
    *,
    database: Database | None = None,
    verifier: TokenVerifier | None = None,
    core: CoreClients | None = None,
    cursor_key: str | None = None,
    body_limit_bytes: int | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Edge:
    """What is not given is made from the settings. The app closes what it stands on when it stops."""
    database = database or open_database()
    core = core or _open_clients()
    billing = Billing(database, core, Cursors(cursor_key or load(Auth).cursor_key), now)

    @contextlib.asynccontextmanager
    async def open_clients(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            yield
        await database.close()

    return http_app(
        NAME,
        [*HANDLERS, changes_route(database, NAME)],
        verifier=verifier or TokenVerifier(load(Network).url_of("user") + JWKS_PATH),
        ready={"database": database.ready},
        lifespan=[open_clients],
        dependencies={"billing": Provide(lambda: billing, sync_to_thread=False), "asked": Provide(list_query)},
        body_limit_bytes=body_limit_bytes or load(Limits).body_limit_bytes,
    )


def open_database() -> Database:
    """Billing's own database, as the settings name it."""
    databases = load(Databases)
    return Database(databases.url_of(NAME), schema=SCHEMA, service=NAME, pool_size=databases.database_pool_size)


def _open_clients() -> CoreClients:
    network = load(Network)
    identity = ServiceIdentity(NAME, load(Auth).secret_of(NAME), network.url_of("user"))
    return CoreClients(network.url_of, identity)
