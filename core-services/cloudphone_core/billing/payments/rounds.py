"""What the worker looks after: outcomes nobody knows yet, checkouts nobody paid, holds nobody captured, refunds."""

from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.errors import DomainError, Unavailable

from .found import Patience
from .models import PaymentRow, RefundRow
from .provider import NoAnswer
from .service import Payments

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BATCH = 20
"""So many are looked after in one round, one after the other: the provider is not to be flooded."""


async def look_after(payments: Payments) -> int:
    """Returns how many of those due settled."""
    now = payments.now()
    async with payments.database.writing() as session:
        due = await _claim(session, PaymentRow, now, payments.patience)
        refunds = await _claim(session, RefundRow, now, payments.patience)
    settled = 0
    for payment_id in due:
        settled += await _tried(payments, payment_id, "payment")
    for refund_id in refunds:
        settled += await _tried(payments, refund_id, "refund")
    return settled


async def _claim(
    session: AsyncSession, of: type[PaymentRow] | type[RefundRow], now: datetime, patience: Patience
) -> list[UUID]:
    """Those due; each is looked at again later and later, should this look come to nothing."""
    rows = await session.scalars(
        select(of)
        .where(of.next_look_at <= now)
        .order_by(of.next_look_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    claimed = list(rows)
    for row in claimed:
        row.next_look_at = now + min(patience.seldom, patience.again * 2 ** min(row.looks, 16))
        row.looks += 1
    return [row.id for row in claimed]


async def _tried(payments: Payments, subject: UUID, what: str) -> bool:
    try:
        if what == "payment":
            return (await payments.look(subject)).state in ("captured", "voided", "refused", "held")
        return await payments.card_refunds.look(subject, payments.now()) in ("success", "failed")
    except (NoAnswer, Unavailable, DomainError) as error:
        log.warning("payment_not_settled", what=what, id=str(subject), reason=str(error))
        return False
