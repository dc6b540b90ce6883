"""The billing service's bus process: what was announced goes out, what others announce comes in, and what nobody
announces is asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.settings import BusSettings, load
from cloudphone_shared.settings import Payments as PaymentSettings

from ..opening import open_clients, open_database
from .invoices.rounds import (
    TIMING,
    Timing,
    credit_refunds,
    freeze_for_overdue,
    issue_last_month,
    settle_from_wallets,
    warn_of_overdue,
)
from .ledger.transfers import expire_due
from .main import NAME
from .open_runs import PATIENCE, Patience, ask_about_open_runs
from .orders.quota_releases import release_quotas
from .orders.refunds import follow_refunds
from .orders.renewals import end_overdue, renew_due
from .payments.reconciliation import reconcile_yesterday
from .payments.rounds import look_after
from .payments.service import Payments, open_provider
from .rating.rounds import check_budgets, rate_due, tell_low_balances
from .sagas.purchase import Shop, purchases
from .sagas.replies import hear_payment
from .sagas.runner import Runner
from .sagas.steps import Pace
from .subscribers import subscribe

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ROUND_SECONDS = 30.0
RATING_SECONDS = 2.0
"""How long what was told of a run may wait before its user sees what it costs."""
PAYMENT_SECONDS = 5.0
PROVIDER_SECONDS = 20.0
"""Longer than a customer's request may wait: what is known at last need not be found out later."""


async def run(
    *,
    database: Database | None = None,
    bus: Bus | None = None,
    core: CoreClients | None = None,
    payments: Payments | None = None,
    patience: Patience = PATIENCE,
    timing: Timing = TIMING,
    round_seconds: float = ROUND_SECONDS,
    rating_seconds: float = RATING_SECONDS,
    payment_seconds: float = PAYMENT_SECONDS,
    pace: Pace = Pace(),  # noqa: B008
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Until it is cancelled. What is not given comes from the settings; all is closed at the end."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    core = core or open_clients(NAME)
    payments = payments or Payments(
        database, now, provider=open_provider(load(PaymentSettings), seconds=PROVIDER_SECONDS)
    )
    payments.on_settled(hear_payment)
    engine = purchases(database, Shop(core, payments, now), pace=pace)
    subscribe(bus, database, now)
    try:
        async with core, asyncio.TaskGroup() as work:
            await bus.start()
            work.create_task(Relay(database, bus, service=NAME).run())
            work.create_task(_every(round_seconds, lambda: ask_about_open_runs(database, core, now(), patience)))
            work.create_task(_every(round_seconds, lambda: issue_last_month(database, now(), timing)))
            work.create_task(_every(round_seconds, lambda: credit_refunds(database, now())))
            work.create_task(_every(round_seconds, lambda: settle_from_wallets(database, now())))
            work.create_task(_every(round_seconds, lambda: warn_of_overdue(database, now())))
            work.create_task(_every(round_seconds, lambda: freeze_for_overdue(database, now())))
            work.create_task(_every(round_seconds, lambda: expire_due(database, now())))
            work.create_task(_every(rating_seconds, lambda: rate_due(database)))
            work.create_task(_every(rating_seconds, lambda: check_budgets(database, now())))
            work.create_task(_every(round_seconds, lambda: tell_low_balances(database, now())))
            work.create_task(_every(payment_seconds, lambda: look_after(payments)))
            work.create_task(_every(round_seconds, lambda: reconcile_yesterday(payments)))
            work.create_task(Runner(database, engine, pace).run())
            work.create_task(_every(round_seconds, lambda: renew_due(database, now())))
            work.create_task(_every(round_seconds, lambda: end_overdue(database, now())))
            work.create_task(_every(round_seconds, lambda: follow_refunds(database, now())))
            work.create_task(_every(round_seconds, lambda: release_quotas(database, core, now())))
    finally:
        await payments.close()
        await bus.stop()
        await database.close()


async def _every(seconds: float, round_of: Callable[[], Awaitable[int]]) -> None:
    """Again at once where a round found something to do. A round that fails is made again, and stops no other."""
    while True:
        try:
            done = await round_of()
        except (Unavailable, DomainError) as error:
            log.warning("round_postponed", reason=str(error))
            done = 0
        except Exception:
            log.exception("round_failed")
            done = 0
        if not done:
            await asyncio.sleep(seconds)
