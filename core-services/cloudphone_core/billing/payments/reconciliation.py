"""A day (UTC) of the provider's books against ours.

What is unknown is found out first. What they have and we lack is repaired where asking again settles it; whatever
contradicts our rows, or cannot be explained by them, is reported and left to an operator.
"""

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.payment import PaymentDifference, PaymentReconciliation
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.ids import uuid7

from . import disputes
from .found import alarm
from .models import DisputeRow, PaymentReconciliationRow, PaymentRow, RefundRow
from .provider import NAME, BookLine, NoAnswer, Refused
from .service import Payments

log: structlog.stdlib.BoundLogger = structlog.get_logger()

AGAIN = timedelta(hours=1)

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('billing.payment_reconciliations', 0))")


async def reconcile(payments: Payments, day: date) -> UUID:
    """The report's id; one that could not be finished says why."""
    async with payments.database.writing() as session:
        report_id = _begin(session, day, payments.now())
    await _carry_out(payments, day, report_id)
    return report_id


async def reconcile_yesterday(payments: Payments) -> int:
    """Once a day, by one of the workers; one that could not be finished again an hour later. Returns 0: there is one
    yesterday alone."""
    if not payments.takes_cards:
        return 0
    now = payments.now()
    yesterday = now.date() - timedelta(days=1)
    done = exists().where(
        PaymentReconciliationRow.provider == NAME,
        PaymentReconciliationRow.day == yesterday,
        or_(PaymentReconciliationRow.finished_at.is_not(None), PaymentReconciliationRow.started_at > now - AGAIN),
    )
    async with payments.database.reading() as session:
        if await session.scalar(select(done)):
            return 0
    async with payments.database.writing() as session:
        await session.execute(_ONE_AT_A_TIME)
        if await session.scalar(select(done)):
            return 0
        report_id = _begin(session, yesterday, now)
    await _carry_out(payments, yesterday, report_id)
    return 0


def _begin(session: AsyncSession, day: date, now: datetime) -> UUID:
    report_id = uuid7()
    session.add(
        PaymentReconciliationRow(
            id=report_id, provider=NAME, day=day, started_at=now, compared=0, resolved_unknown=0, captured={},
            refunded={}, differences=[],
        )
    )  # fmt: skip
    return report_id


async def _carry_out(payments: Payments, day: date, report_id: UUID) -> None:
    found, error = _Comparison(payments, day), None
    try:
        await found.run()
    except (NoAnswer, Unavailable, Refused) as failure:
        error = str(failure)
        log.warning("reconciliation_not_finished", day=day.isoformat(), reason=error)
    if open_ones := [one for one in found.differences if not one.repaired]:
        alarm("reconciliation", day=day.isoformat(), differences=len(open_ones))
    async with payments.database.writing() as session:
        report = await session.get_one(PaymentReconciliationRow, report_id)
        report.error, report.finished_at = error, None if error else payments.now()
        report.compared, report.resolved_unknown = found.compared, found.resolved
        report.captured, report.refunded = dict(found.captured), dict(found.refunded)
        report.differences = msgspec.to_builtins(found.differences)


def table(report: PaymentReconciliation) -> str:
    """Its differences as CSV."""
    written = io.StringIO()
    lines = csv.writer(written)
    columns = PaymentDifference.__struct_encode_fields__
    lines.writerow(columns)
    for difference in report.differences:
        values = msgspec.to_builtins(difference)
        lines.writerow(["" if values[name] is None else values[name] for name in columns])
    return written.getvalue()


class _Comparison:
    def __init__(self, payments: Payments, day: date) -> None:
        self._payments = payments
        self._begin = datetime.combine(day, clock(), UTC)
        self._end = self._begin + timedelta(days=1)
        self.compared = self.resolved = 0
        self.captured: Counter[str] = Counter()
        self.refunded: Counter[str] = Counter()
        self.differences: list[PaymentDifference] = []

    async def run(self) -> None:
        await self._find_out_unknown()
        theirs = [line async for line in self._payments.cards.provider.books(self._begin.date())]
        for line in theirs:
            self.compared += 1
            if line.kind == "capture":
                self.captured[line.currency] += line.amount
                await self._capture(line)
            elif line.kind == "refund":
                self.refunded[line.currency] += line.amount
                await self._refund(line)
            elif line.kind == "dispute":
                await self._dispute(line)
        await self._missing_there({line.reference for line in theirs})

    async def _find_out_unknown(self) -> None:
        async with self._payments.database.reading() as session:
            open_payments = list(await session.scalars(_unknown(PaymentRow)))
            open_refunds = list(await session.scalars(_unknown(RefundRow)))
        for payment_id in open_payments:
            self.resolved += (await self._payments.look(payment_id)).state != "unknown"
        for refund_id in open_refunds:
            state = await self._payments.card_refunds.look(refund_id, self._payments.now())
            self.resolved += state in ("success", "failed")

    async def _capture(self, line: BookLine) -> None:
        payment = await self._payment(line)
        if payment is None:
            self._differs(line, "missing-here", None, None, line.kind)
            return
        if payment.state != "success":
            before = payment.state
            repaired = await self._looked(payment.id)
            self._differs(line, "state", payment.id, before, "captured", repaired=repaired)
            return
        if (payment.captured, payment.currency) != (line.amount, line.currency):
            self._differs(line, "amount", payment.id, _money(payment.captured, payment.currency), _of(line))

    async def _refund(self, line: BookLine) -> None:
        async with self._payments.database.reading() as session:
            refund = await _refund_of(session, line)
        if refund is None:
            self._differs(line, "missing-here", None, None, f"refund of {_of(line)}")
            return
        if refund.state != "success":
            before = refund.state
            state = await self._payments.card_refunds.look(refund.id, self._payments.now())
            self._differs(line, "state", refund.payment_id, before, "refunded", repaired=state == "success")
            return
        if (refund.amount, refund.currency) != (line.amount, line.currency):
            self._differs(line, "amount", refund.payment_id, _money(refund.amount, refund.currency), _of(line))

    async def _dispute(self, line: BookLine) -> None:
        async with self._payments.database.reading() as session:
            known = select(DisputeRow.state).where(DisputeRow.provider_reference == line.reference)
            before = await session.scalar(known)
        found = await self._payments.cards.provider.dispute(line.reference)
        if before == found.state:
            return
        outcome, _ = await disputes.settle(self._payments, found)
        self._differs(
            line, "missing-here" if before is None else "state", None, before, f"dispute {found.state}",
            repaired=outcome == "applied",
        )  # fmt: skip

    async def _missing_there(self, theirs: set[str]) -> None:
        within = (self._begin, self._end)
        async with self._payments.database.reading() as session:
            ours = list(
                await session.scalars(
                    select(PaymentRow).where(PaymentRow.booked_at >= within[0], PaymentRow.booked_at < within[1])
                )
            )
            refunds = list(
                await session.scalars(
                    select(RefundRow).where(RefundRow.booked_at >= within[0], RefundRow.booked_at < within[1])
                )
            )
        for row in (*ours, *refunds):
            if row.provider_reference in theirs:
                continue
            refund = isinstance(row, RefundRow)
            self.differences.append(
                PaymentDifference(
                    kind="missing-there",
                    provider_reference=row.provider_reference,
                    payment_id=row.payment_id if isinstance(row, RefundRow) else row.id,
                    ours=_money(row.amount, row.currency),
                    theirs=None,
                    repaired=False,
                )
            )
            log.error("not_in_the_providers_books", refund=refund, reference=row.provider_reference)

    async def _payment(self, line: BookLine) -> PaymentRow | None:
        async with self._payments.database.reading() as session:
            by_reference = PaymentRow.provider_reference == line.reference
            ours = or_(by_reference, PaymentRow.id == UUID(line.our_id)) if _is_uuid(line.our_id) else by_reference
            return await session.scalar(select(PaymentRow).where(PaymentRow.provider == NAME, ours))

    async def _looked(self, payment_id: UUID) -> bool:
        try:
            return (await self._payments.look(payment_id)).state == "captured"
        except DomainError as error:
            log.warning("difference_not_repaired", payment_id=str(payment_id), reason=str(error))
            return False

    def _differs(
        self,
        line: BookLine,
        kind: str,
        payment_id: UUID | None,
        ours: str | None,
        theirs: str,
        *,
        repaired: bool = False,
    ) -> None:
        self.differences.append(
            msgspec.convert(
                {
                    "kind": kind,
                    "providerReference": line.reference,
                    "paymentId": payment_id,
                    "ours": ours,
                    "theirs": theirs,
                    "repaired": repaired,
                },
                PaymentDifference,
            )
        )


def _unknown(of: type[PaymentRow] | type[RefundRow]):
    return select(of.id).where(of.state == "unknown").order_by(of.created_at).limit(1000)


async def _refund_of(session: AsyncSession, line: BookLine) -> RefundRow | None:
    by_reference = RefundRow.provider_reference == line.reference
    ours = or_(by_reference, RefundRow.id == UUID(line.our_id)) if _is_uuid(line.our_id) else by_reference
    return await session.scalar(select(RefundRow).where(ours))


def _is_uuid(text: str | None) -> bool:
    try:
        UUID(text or "")
    except ValueError:
        return False
    return True


def _money(amount: int, currency: str) -> str:
    return f"{amount} {currency}"


def _of(line: BookLine) -> str:
    return _money(line.amount, line.currency)
