"""An invoice of 10,000 lines: issued, read, printed, exported."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import msgspec

from cloudphone_core.billing.invoices import reads
from cloudphone_core.billing.invoices.bill_to import Customer
from cloudphone_core.billing.invoices.fonts import Fonts
from cloudphone_core.billing.invoices.issuing import Occasion, issue
from cloudphone_core.billing.invoices.pdf import pdf
from cloudphone_core.billing.invoices.table import table
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.rating.models import ChargeRow
from cloudphone_shared.auth import Caller
from cloudphone_shared.database import Database, copy_rows, migrate
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand

LINES = 10_000
T = TypeVar("T")
_ADMIN = Caller(
    id=str(uuid7()), tenant_id="", role="admin", kind="user", data_scope="all", permissions=frozenset(),
    sessions_version=0, expires_at=0.0, token="",
)  # fmt: skip


async def invoicing(stand: Stand, figures: Figures) -> None:
    """Of one customer with a charge on each of 10,000 devices, in one process beside PostgreSQL."""
    async with _billing(stand) as database:
        for _ in range(stand.effort.rounds):
            who = Customer(tenant_id=uuid7(), user_id=uuid7(), name="Bench")
            await _use(database, who, stand.effort.less(LINES, 200))
            invoice_id = await _timed(figures, "invoice_issue_ms", _issue(database, who))
            await _timed(figures, "invoice_read_ms", _read(database, invoice_id))
            await _timed(figures, "invoice_pdf_ms", _print(database, invoice_id))
            await _timed(figures, "invoice_csv_ms", _export(database, invoice_id))


async def _timed(figures: Figures, name: str, work: Awaitable[T]) -> T:
    began = time.perf_counter()
    done = await work
    figures.add(name, 1000 * (time.perf_counter() - began), "ms")
    return done


async def _use(database: Database, who: Customer, devices: int) -> None:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    charge = {
        "tenant_id": who.tenant_id, "user_id": who.user_id, "started_at": began,
        "stopped_at": began + timedelta(hours=1), "seconds": 3600, "rule_id": None, "rule_revision": None,
        "rate": Decimal("33.3"), "worth": Decimal(119880), "currency": "USD", "included": False,
        "description": "an hour", "correction": False,
    }  # fmt: skip
    rows = [{**charge, "device_id": uuid7(), "run_id": uuid7()} for _ in range(devices)]
    async with database.writing() as session:
        await copy_rows(session, ChargeRow, rows)


async def _issue(database: Database, who: Customer) -> UUID:
    now = datetime.now(UTC)
    async with database.writing() as session:
        [invoice] = await issue(session, who, now, Occasion(actor="bench", at=now))
    return invoice.id


async def _read(database: Database, invoice_id: UUID) -> bytes:
    async with database.reading() as session:
        return msgspec.json.encode(await reads.invoice(session, _ADMIN, invoice_id))


async def _print(database: Database, invoice_id: UUID) -> bytes:
    async with database.reading() as session:
        printed = await reads.printed(session, _ADMIN, invoice_id)
    return await asyncio.to_thread(pdf, printed, Fonts())


async def _export(database: Database, invoice_id: UUID) -> int:
    async with database.reading() as session:
        lines = reads.lines_of(session, invoice_id)
        return sum([len(piece) async for piece in table("INV", "USD", lines)])


@asynccontextmanager
async def _billing(stand: Stand) -> AsyncGenerator[Database]:
    url = await stand.postgres.database()
    await migrate(url, "billing")
    database = Database(url, schema=SCHEMA, service="billing", pool_size=4)
    yield database
    await database.close()
