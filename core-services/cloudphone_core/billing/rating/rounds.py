"""What the worker does for rating, round by round; any number of workers share the work."""

from cloudphone_shared.database import Database

from .budgets import check_budgets, tell_low_balances
from .charges import BATCH
from .charges import rate_due as rate_marked

__all__ = ["check_budgets", "rate_due", "tell_low_balances"]


async def rate_due(database: Database, batch: int = BATCH) -> int:
    """How many marks were worked off."""
    async with database.writing() as session:
        return await rate_marked(session, batch)
