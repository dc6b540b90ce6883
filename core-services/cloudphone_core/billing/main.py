"""The billing service's HTTP process."""

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
from cloudphone_shared.settings import Auth, Limits, load
from cloudphone_shared.settings import Payments as PaymentSettings

from ..opening import open_clients, open_database, open_verifier
from .handling import Billing
from .invoices.routes import INVOICES
from .ledger.routes import LEDGER
from .orders.routes import ORDERS
from .payments.routes import PAYMENTS
from .payments.service import Payments, open_provider
from .plans.routes import PLANS
from .rating.routes import RATING
from .routes import HANDLERS
from .sagas.purchase import Shop, purchases
from .sagas.replies import hear_payment
from .sagas.routes import SAGAS

NAME = "billing"


def create_app(
    *,
    database: Database | None = None,
    verifier: TokenVerifier | None = None,
    core: CoreClients | None = None,
    payments: Payments | None = None,
    cursor_key: str | None = None,
    body_limit_bytes: int | None = None,
    adjustment_limit: int | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Edge:
    """What is not given is made from the settings. The app closes what it stands on when it stops."""
    database = database or open_database(NAME)
    core = core or open_clients(NAME)
    cursors, money = Cursors(cursor_key or load(Auth).cursor_key), load(PaymentSettings)
    billing = Billing(
        database, core, cursors, now, money.adjustment_limit if adjustment_limit is None else adjustment_limit
    )
    payments = payments or Payments(database, now, provider=open_provider(money))
    payments.on_settled(hear_payment)
    engine = purchases(database, Shop(core, payments, now))

    @contextlib.asynccontextmanager
    async def closing(app: Litestar) -> AsyncGenerator[None]:
        async with core:
            yield
        await payments.close()
        await database.close()

    return http_app(
        NAME,
        [*HANDLERS, *PLANS, *ORDERS, *SAGAS, *PAYMENTS, *LEDGER, *RATING, *INVOICES, changes_route(database, NAME)],
        verifier=verifier or open_verifier(),
        ready={"database": database.ready},
        lifespan=[closing],
        dependencies={
            "billing": Provide(lambda: billing, sync_to_thread=False),
            "payments": Provide(lambda: payments, sync_to_thread=False),
            "purchases": Provide(lambda: engine, sync_to_thread=False),
            "asked": Provide(list_query),
        },
        body_limit_bytes=body_limit_bytes or load(Limits).body_limit_bytes,
    )
