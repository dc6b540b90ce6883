"""Orders that are paid from the wallet at once."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from ..payments import wallet
from ..payments.service import PaidOrder, open_payment
from .models import OrderRow


async def pay(session: AsyncSession, order: OrderRow, *, key: str, actor: str, at: datetime) -> None:
    """From the wallet, now. Last of all: the wallet is locked from here on. Raises InsufficientFunds."""
    assert order.payment_id is not None
    whose = PaidOrder(id=order.id, tenant_id=order.tenant_id, user_id=order.user_id)
    await open_payment(
        session, payment_id=order.payment_id, order=whose, method="wallet", amount=order.amount,
        currency=order.currency, tax=order.tax, at=at,
    )  # fmt: skip
    kind = "renewal" if order.kind == "renewal" else "plan-change"
    reason = "Renewal of a plan" if kind == "renewal" else "Change of plan"
    await wallet.pay_in(session, order.payment_id, at, key=key, kind=kind, reason=reason, actor=actor)
