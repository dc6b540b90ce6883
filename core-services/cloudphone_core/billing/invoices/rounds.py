"""What the worker does for invoices, again and again: one transaction per customer or invoice, so that whatever dies
in the middle is gone on with, and several workers share the work. Each round says how much it did."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import ColumnElement, Row, Select, exists, select, text, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from cloudphone_shared.database import Database
from cloudphone_shared.errors import Unavailable

from ..ledger.models import AccountRow
from ..orders.models import OrderRow
from ..payments.models import RefundRow
from ..periods import month_of
from ..rating.models import ChargeRow
from . import settling
from .bill_to import customer
from .crediting import credit_refund
from .issuing import Occasion, issue
from .models import InvoiceLineRow, InvoiceRow, InvoiceRunRow
from .sources import TAKEN, given_back, not_invoiced, paid_at, refund_not_invoiced
from .usage import unrated, waiting_for_usage

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BATCH = 100
_UNPAID = InvoiceRow.state.in_(("open", "overdue"))
_MINE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('billing.invoices ' || :user, 0))")
Point = Callable[[str], Awaitable[None]]
Waiting = Row[UUID, UUID]
"""Tenant and user."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """`after`: how long after a month's end its invoices are issued, so that what is late has come."""

    after: timedelta = timedelta(hours=6)


TIMING = Timing()


async def nothing(point: str) -> None:
    """Where nobody wants to know how far the work has got."""


async def issue_last_month(
    database: Database, now: datetime, timing: Timing = TIMING, *, point: Point = nothing
) -> int:
    """How many customers got last month's invoices. Each gets at most one per currency, whoever works on it.

    What comes to light later is on the next month's. `point` is told where the work has got to.
    """
    end = month_of(now).start
    month = month_of(end - timedelta(days=1)).start.date()
    if now < end + timing.after or await _finished(database, month, now):
        return 0
    done, waiting = 0, await _waiting(database, month, end, None)
    idle = not waiting
    while waiting:
        for tenant_id, user_id in waiting:
            done += await _for_one(database, tenant_id, user_id, month, end, now, point)
        waiting = await _waiting(database, month, end, waiting[-1][1])
    if idle:
        await _finish(database, month, end, now)
    return done


async def settle_from_wallets(database: Database, now: datetime) -> int:
    """Takes what is due from wallets that have come to money."""
    purse = exists().where(
        AccountRow.owner_id == InvoiceRow.user_id,
        AccountRow.tenant_id == InvoiceRow.tenant_id,
        AccountRow.currency == InvoiceRow.currency,
        AccountRow.kind == "wallet",
        AccountRow.balance > AccountRow.held,
    )

    async def take(session: AsyncSession, invoice: InvoiceRow) -> int:
        return int(await settling.settle(session, invoice, now) > 0)

    return await _each(database, _UNPAID & purse, take)


async def warn_of_overdue(database: Database, now: datetime) -> int:
    async def warn(session: AsyncSession, invoice: InvoiceRow) -> int:
        await settling.become_overdue(session, invoice)
        return 1

    return await _each(database, (InvoiceRow.state == "open") & (InvoiceRow.due_at <= now), warn)


async def freeze_for_overdue(database: Database, now: datetime) -> int:
    late = (InvoiceRow.state == "overdue") & (InvoiceRow.freeze_at <= now) & InvoiceRow.frozen_at.is_(None)

    async def freeze(session: AsyncSession, invoice: InvoiceRow) -> int:
        await settling.freeze_for(session, invoice, now)
        return 1

    return await _each(database, late, freeze)


async def credit_refunds(database: Database, now: datetime) -> int:
    """Notes for what was given back of orders that were on an invoice by then."""
    of_order = (InvoiceLineRow.order_id == RefundRow.order_id) & (InvoiceLineRow.kind == "plan")
    statement = (
        select(InvoiceLineRow.invoice_id)
        .distinct()
        .join(RefundRow, of_order)
        .where(*refund_not_invoiced())
        .limit(BATCH)
    )
    async with database.reading() as session:
        invoice_ids = (await session.scalars(statement)).all()

    async def credit(session: AsyncSession, invoice_id: UUID) -> int:
        return await _credit_refunds_of(session, invoice_id, now)

    return await _one_by_one(database, invoice_ids, credit)


async def _credit_refunds_of(session: AsyncSession, invoice_id: UUID, now: datetime) -> int:
    invoice = await settling.locked(session, invoice_id)
    plans = await session.scalars(
        select(InvoiceLineRow).where(InvoiceLineRow.invoice_id == invoice_id, InvoiceLineRow.kind == "plan")
    )
    by_order = {line.order_id: line for line in plans if line.order_id}
    refunds = [each for those in (await given_back(session, list(by_order))).values() for each in those]
    if invoice is not None:
        for refund in refunds:
            await credit_refund(session, invoice, by_order[refund.order_id], refund, now)
    return len(refunds)


async def _for_one(
    database: Database, tenant_id: UUID, user_id: UUID, month: date, end: datetime, now: datetime, point: Point
) -> int:
    async def for_user(session: AsyncSession, user_id: UUID) -> int:
        if not await session.scalar(_MINE, {"user": str(user_id)}):
            return 0
        done = select(InvoiceRow.currency).where(InvoiceRow.user_id == user_id, InvoiceRow.month == month)
        but = frozenset((await session.scalars(done)).all())
        who = await customer(session, tenant_id, user_id)
        found = await issue(session, who, end, Occasion(actor=settling.SYSTEM, at=now, month=month, but=but))
        await point("issued")
        return int(bool(found))

    issued = await _one_by_one(database, [user_id], for_user)
    await point("committed")
    return issued


async def _waiting(database: Database, month: date, end: datetime, after: UUID | None) -> Sequence[Waiting]:
    """Customers who have something of before `end` in a currency that they got no invoice of the month for."""
    at = paid_at()
    ordered: Select[UUID, UUID] = select(OrderRow.tenant_id, OrderRow.user_id).where(
        OrderRow.state.in_(TAKEN),
        OrderRow.created_at < end,
        at < end,
        not_invoiced(),
        *_still_without(OrderRow.user_id, OrderRow.currency, month, after),
    )
    used: Select[UUID, UUID] = select(ChargeRow.tenant_id, ChargeRow.user_id).where(
        *waiting_for_usage(end), *_still_without(ChargeRow.user_id, ChargeRow.currency, month, after)
    )
    both = union(ordered, used).subquery()
    async with database.reading() as session:
        return (await session.execute(select(*both.c).order_by(both.c.user_id).limit(BATCH))).all()


def _still_without(
    user_id: InstrumentedAttribute[UUID],
    currency: InstrumentedAttribute[str] | InstrumentedAttribute[str | None],
    month: date,
    after: UUID | None,
) -> Iterable[ColumnElement[bool]]:
    has = exists().where(InvoiceRow.user_id == user_id, InvoiceRow.currency == currency, InvoiceRow.month == month)
    return [~has, *([] if after is None else [user_id > after])]


async def _finished(database: Database, month: date, now: datetime) -> bool:
    async with database.reading() as session:
        run = await session.get(InvoiceRunRow, month)
    if run is None:
        async with database.writing() as session:
            await session.execute(insert(InvoiceRunRow).values(month=month, started_at=now).on_conflict_do_nothing())
    return run is not None and run.finished_at is not None


async def _finish(database: Database, month: date, end: datetime, now: datetime) -> None:
    """Unless some usage of the month is yet to be rated."""
    done = update(InvoiceRunRow).where(InvoiceRunRow.month == month, InvoiceRunRow.finished_at.is_(None), ~unrated(end))
    async with database.writing() as session:
        await session.execute(done.values(finished_at=now))


async def _each(
    database: Database,
    which: ColumnElement[bool],
    act: Callable[[AsyncSession, InvoiceRow], Awaitable[int]],
) -> int:
    """A transaction for each invoice; those that somebody else has in hand are left to them."""
    async with database.reading() as session:
        ids = (await session.scalars(select(InvoiceRow.id).where(which).order_by(InvoiceRow.due_at).limit(BATCH))).all()

    async def with_row(session: AsyncSession, invoice_id: UUID) -> int:
        mine = select(InvoiceRow).where(InvoiceRow.id == invoice_id, which).with_for_update(skip_locked=True)
        invoice = await session.scalar(mine)
        return 0 if invoice is None else await act(session, invoice)

    return await _one_by_one(database, ids, with_row)


async def _one_by_one(
    database: Database, ids: Sequence[UUID], act: Callable[[AsyncSession, UUID], Awaitable[int]]
) -> int:
    """Each in a transaction. Whatever is wrong with one, the others are done; it is tried again in the next round."""
    done = 0
    for subject in ids:
        try:
            async with database.writing() as session:
                done += await act(session, subject)
        except Unavailable:
            raise
        except Exception:
            log.exception("invoice_round_failed", subject=str(subject))
    return done
