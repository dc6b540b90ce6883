"""What the worker does for invoices, again and again: one transaction per customer or invoice, so that whatever dies
in the middle is gone on with, and several workers share the work."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Row, and_, exists, or_, select, text, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError

from ..ledger.models import AccountRow
from ..orders.models import OrderRow
from ..payments.models import RefundRow
from ..periods import month_of
from ..rating.models import ChargeRow, DueRow
from . import crediting, settling
from .bill_to import customer
from .issuing import Occasion, issue
from .models import InvoiceLineRow, InvoiceRow, InvoiceRunRow
from .sources import TAKEN, given_back, not_invoiced, paid_at, refund_not_invoiced

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BATCH = 50
Point = Callable[[str], Awaitable[None]]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """`after`: how long after a month's end its invoices are issued, so that what is late has come."""

    after: timedelta = timedelta(hours=6)


TIMING = Timing()


async def _past(point: str) -> None:
    pass


async def issue_last_month(
    database: Database, now: datetime, timing: Timing = TIMING, *, point: Point = _past
) -> int:
    """How many customers got last month's invoices. Each gets at most one per currency, whoever works on it.

    What comes to light later is on the next month's. `point` is told where the work has got to.
    """
    end = month_of(now).start
    month = month_of(end - timedelta(days=1)).start.date()
    if now < end + timing.after or await _finished(database, month, now):
        return 0
    async with database.reading() as session:
        waiting = await _waiting(session, month, end)
        unrated = await session.scalar(select(exists().where(DueRow.since < end)))
    done = 0
    for tenant_id, user_id in waiting:
        done += await _issued_once(database, tenant_id, user_id, month, end, now, point)
    if not waiting and not unrated:
        await _finish(database, month, now)
    return done


async def _issued_once(
    database: Database, tenant_id: UUID, user_id: UUID, month: date, end: datetime, now: datetime, point: Point
) -> int:
    try:
        async with database.writing() as session:
            if not await session.scalar(_MINE, {"user": str(user_id)}):
                return 0
            but = await _currencies_done(session, user_id, month)
            who = await customer(session, tenant_id, user_id)
            occasion = Occasion(actor=settling.SYSTEM, at=now, month=month, but=but)
            found = await issue(session, who, end, occasion)
            await point("issued")
        await point("committed")
    except DomainError as error:
        log.error("invoice_not_issued", user_id=str(user_id), month=str(month), reason=str(error))
        return 0
    for invoice in found:
        log.info("invoice_issued", invoice_id=str(invoice.id), number=invoice.number, user_id=str(user_id))
    return int(bool(found))


_MINE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('billing.invoices ' || :user, 0))")


async def _waiting(session: AsyncSession, month: date, end: datetime) -> Sequence[Row[tuple[UUID, UUID]]]:
    """Customers who have something of before `end` in a currency that they got no invoice of the month for."""
    at = paid_at()
    ordered = select(OrderRow.tenant_id, OrderRow.user_id).where(
        OrderRow.state.in_(TAKEN),
        OrderRow.created_at < end,
        at < end,
        not_invoiced(),
        ~_has_month(OrderRow.user_id, OrderRow.currency, month),
    )
    used = select(ChargeRow.tenant_id, ChargeRow.user_id).where(
        ChargeRow.invoice_id.is_(None),
        ChargeRow.currency.is_not(None),
        ChargeRow.stopped_at <= end,
        ~_has_month(ChargeRow.user_id, ChargeRow.currency, month),
    )
    return (await session.execute(union(ordered.limit(BATCH), used.distinct().limit(BATCH)))).all()


def _has_month(user_id: object, currency: object, month: date):  # noqa: ANN202
    return exists().where(
        InvoiceRow.user_id == user_id, InvoiceRow.currency == currency, InvoiceRow.month == month
    )
