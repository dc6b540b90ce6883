"""The user service's HTTP process."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from cloudphone_shared.auth import JWKS_PATH, TokenVerifier
from cloudphone_shared.database import Cursors, Database, changes_route
from cloudphone_shared.http.app import create_app as create_http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.http.lists import list_query
from cloudphone_shared.settings import Auth, Limits, load

from ..opening import open_database
from .keys import Sealer
from .passwords import Passwords
from .quota_routes import QUOTA_ROUTES
from .routes import USER_ROUTES
from .sign_in import SignIn
from .sign_in_routes import SIGN_IN_ROUTES
from .tokens import Issuer, KeyRing, OwnKeys

NAME = "user"


def create_app(
    *,
    database: Database | None = None,
    auth: Auth | None = None,
    passwords: Passwords | None = None,
    clock: Callable[[], float] = time.time,
    body_limit_bytes: int | None = None,
) -> Edge:
    """What is not given comes from the settings. The app closes the database when it stops."""
    database = database or open_database(NAME)
    auth = auth or load(Auth)
    passwords = passwords or Passwords()
    cursors = Cursors(auth.cursor_key)
    ring = KeyRing(database, sealer_of(auth), clock=clock)
    clients = auth.service_clients or {}
    issuer = Issuer(ring, access_seconds=auth.access_token_seconds, clients=clients, clock=clock)
    sign_in = SignIn(database, passwords, issuer, refresh_days=auth.refresh_token_days, clock=clock)

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncGenerator[None]:
        await passwords.prepare()
        yield
        passwords.close()
        await database.close()

    return create_http_app(
        NAME,
        [*SIGN_IN_ROUTES, *USER_ROUTES, *QUOTA_ROUTES, changes_route(database, NAME)],
        verifier=TokenVerifier("http://user" + JWKS_PATH, transport=OwnKeys(ring), clock=clock),
        ready={"database": database.ready},
        lifespan=[running],
        dependencies={
            "database": Provide(lambda: database, sync_to_thread=False),
            "asked": Provide(list_query),
            "cursors": Provide(lambda: cursors, sync_to_thread=False),
            "passwords": Provide(lambda: passwords, sync_to_thread=False),
            "ring": Provide(lambda: ring, sync_to_thread=False),
            "issuer": Provide(lambda: issuer, sync_to_thread=False),
            "sign_in": Provide(lambda: sign_in, sync_to_thread=False),
            "body_key": Provide(lambda: auth.cursor_key.encode(), sync_to_thread=False),
        },
        body_limit_bytes=body_limit_bytes or load(Limits).body_limit_bytes,
    )


def sealer_of(auth: Auth) -> Sealer:
    """Signing keys are sealed with the installation's cursor key: who changes it gets new signing keys too."""
    return Sealer(auth.cursor_key)
