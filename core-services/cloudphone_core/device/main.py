"""The device service's HTTP process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from cloudphone_shared.auth import TokenVerifier
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.database import Cursors, Database, changes_route
from cloudphone_shared.http.app import create_app as create_http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.settings import Auth, Devices, Limits, load

from ..opening import open_clients, open_database, open_verifier
from .adb import Adb, open_adb
from .fleet_routes import FLEET_ROUTES
from .grant_routes import GRANT_ROUTES
from .lifecycle.routes import LIFECYCLE_ROUTES
from .lifecycle.snapshot_routes import SNAPSHOT_ROUTES
from .live.routes import LIVE_ROUTES
from .operations.present import PRESENT_ROUTES
from .reconcile.routes import RECONCILE_ROUTES
from .routes import DEVICE_ROUTES

NAME = "device"


def create_app(
    *,
    database: Database | None = None,
    verifier: TokenVerifier | None = None,
    core: CoreClients | None = None,
    cursor_key: str | None = None,
    body_limit_bytes: int | None = None,
    adb: Adb | None = None,
) -> Edge:
    """What is not given comes from the settings. The app closes what it works with when it stops."""
    database = database or open_database(NAME)
    core = core or open_clients(NAME)
    devices = load(Devices)
    adb = adb or open_adb(devices.adb_server)
    cursors = Cursors(cursor_key or load(Auth).cursor_key)

    @asynccontextmanager
    async def closing(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            yield
        await adb.close()
        await database.close()

    return create_http_app(
        NAME,
        [
            *DEVICE_ROUTES,
            *LIFECYCLE_ROUTES,
            *SNAPSHOT_ROUTES,
            *PRESENT_ROUTES,
            *GRANT_ROUTES,
            *FLEET_ROUTES,
            *LIVE_ROUTES,
            *RECONCILE_ROUTES,
            changes_route(database, NAME),
        ],
        verifier=verifier or open_verifier(),
        ready={"database": database.ready},
        lifespan=[closing],
        dependencies={
            "database": Provide(lambda: database, sync_to_thread=False),
            "adb": Provide(lambda: adb, sync_to_thread=False),
            "core": Provide(lambda: core, sync_to_thread=False),
            "asked": Provide(list_query),
            "provider": Provide(lambda: devices.provider, sync_to_thread=False),
            "cursors": Provide(lambda: cursors, sync_to_thread=False),
        },
        body_limit_bytes=body_limit_bytes or load(Limits).body_limit_bytes,
    )
