"""Money for a wallet, paid by card."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.payment import RechargeCreate
from cloudphone_shared.contracts.user import User
from cloudphone_shared.ids import uuid7

from .models import PaymentRow
from .steps import opened


async def open_recharge(
    session: AsyncSession, user: User, wanted: RechargeCreate, at: datetime, open_for: timedelta
) -> PaymentRow:
    """Pending: the customer is asked for it after the commit."""
    payment = await opened(
        session, payment_id=uuid7(), tenant_id=user.tenant_id, user_id=user.id, purpose="recharge", order_id=None,
        method="card", amount=wanted.amount, currency=wanted.currency, tax=0, at=at,
    )  # fmt: skip
    # Also one that nobody came to ask the provider for ends by itself.
    payment.expires_at = payment.next_look_at = at + open_for
    return payment
