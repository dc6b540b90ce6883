"""The app service's HTTP process."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from litestar import Litestar
from litestar.di import Provide

from cloudphone_shared.auth import TokenVerifier
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Database
from cloudphone_shared.database.changes import changes_route
from cloudphone_shared.database.pagination import Cursors
from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.settings import AppStorage, Auth, Limits, load

from ..opening import open_clients, open_database, open_verifier
from .checking import Checks
from .file_routes import FILE_HANDLERS
from .installation_routes import INSTALLATION_HANDLERS
from .platforms import Templates
from .review_routes import REVIEW_HANDLERS
from .routes import HANDLERS
from .standing import Store
from .storage import Storage
from .upload_routes import UPLOAD_HANDLERS
from .uploads import Rules

NAME = "app"
ALL_HANDLERS = [*HANDLERS, *FILE_HANDLERS, *UPLOAD_HANDLERS, *REVIEW_HANDLERS, *INSTALLATION_HANDLERS]


def create_app(
    *,
    database: Database | None = None,
    verifier: TokenVerifier | None = None,
    core: CoreClients | None = None,
    storage: Storage | None = None,
    rules: Rules | None = None,
    cursor_key: str | None = None,
    body_limit_bytes: int | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Edge:
    """What is not given is made from the settings. The app closes what it stands on when it stops."""
    database = database or open_database(NAME)
    core = core or open_clients(NAME)
    storage, rules = storage or open_storage(), rules or open_rules()
    checks = Checks(database, storage, rules, now)
    cursors = Cursors(cursor_key or load(Auth).cursor_key)
    store = Store(database, core, cursors, storage, checks, Templates(core), rules, now)

    @contextlib.asynccontextmanager
    async def closing(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            yield
        await checks.close()
        await database.close()

    return http_app(
        NAME,
        [
            *HANDLERS,
            *UPLOAD_HANDLERS,
            *FILE_HANDLERS,
            *REVIEW_HANDLERS,
            *INSTALLATION_HANDLERS,
            changes_route(database, NAME),
        ],
        verifier=verifier or open_verifier(),
        ready={"database": database.ready},
        lifespan=[closing],
        dependencies={"store": Provide(lambda: store, sync_to_thread=False), "asked": Provide(list_query)},
        body_limit_bytes=body_limit_bytes or load(Limits).body_limit_bytes,
    )


def open_storage() -> Storage:
    settings = load(AppStorage)
    return Storage(settings.app_storage_url, reserve=settings.app_storage_reserve_bytes)


def open_rules() -> Rules:
    settings = load(AppStorage)
    return Rules(
        largest=settings.upload_limit_bytes,
        life_seconds=settings.upload_life_seconds,
        most_open=settings.uploads_per_caller,
        abis=tuple(settings.store_abis),
    )
