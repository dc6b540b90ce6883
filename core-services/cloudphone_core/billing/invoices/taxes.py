"""Which tax is in a price, and how much of it. Amounts contain their tax and are rounded half-even."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ..rating.rate import rounded
from .models import BillToRow, TaxRateRow

NO_TAX = Decimal(0)


async def rate_for(session: AsyncSession, tenant_id: UUID, user_id: UUID, at: datetime) -> Decimal:
    """Percent of the country that the user's bill-to named at `at`; 0 without a country or a rate of it."""
    country = (
        select(BillToRow.country)
        .where(BillToRow.tenant_id == tenant_id, BillToRow.user_id == user_id, BillToRow.set_at <= at)
        .order_by(BillToRow.set_at.desc(), BillToRow.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rate = (
        select(TaxRateRow.percent)
        .where(TaxRateRow.country == country, TaxRateRow.valid_from <= at.astimezone(UTC).date())
        .order_by(TaxRateRow.valid_from.desc())
        .limit(1)
    )
    return await session.scalar(rate) or NO_TAX


def tax_in(amount: int, percent: Decimal) -> int:
    """The tax that `amount` contains at `percent`, in minor units; of a negative amount it is negative."""
    with localcontext(prec=60):
        return int((amount * percent / (100 + percent)).quantize(Decimal(1), ROUND_HALF_EVEN))


def to_minor_units(worth: Decimal) -> int:
    """Of charges' `worth` (3,600 times the amount), rounded half-even."""
    return rounded(worth)
