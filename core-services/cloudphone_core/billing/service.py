"""What billing does with balances: one function per use case, in the caller's transaction."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import BalanceSet
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.outbox import announce
from cloudphone_shared.events.billing import BalanceChanged

from .models import BalanceRow


async def set_balance(session: AsyncSession, user: User, figures: BalanceSet, at: datetime) -> None:
    values = {"currency": figures.currency, "available": figures.available, "held": figures.held, "updated_at": at}
    await session.execute(
        insert(BalanceRow)
        .values(user_id=user.id, tenant_id=user.tenant_id, **values)
        .on_conflict_do_update(index_elements=[BalanceRow.user_id], set_=values)
    )
    event = BalanceChanged(
        user_id=user.id,
        currency=figures.currency,
        available=figures.available,
        held=figures.held,
        tenant_id=user.tenant_id,
    )
    await announce(session, event, entities.balance(user.id))
