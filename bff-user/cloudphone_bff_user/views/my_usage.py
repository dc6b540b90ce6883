"""The caller's use: this period per device, the last thirty days, and what it costs so far."""

from datetime import UTC, datetime, timedelta

from litestar.di import NamedDependency
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import UsageDay, UserUsage
from cloudphone_shared.contracts.rating import UserCost

from ..portal import screen

DAYS = 30
COST_HOLDS_SECONDS = 60
"""What runs now adds to it."""


class MyUsage(Contract, frozen=True, kw_only=True):
    """`days`: the last 30 UTC days, oldest first. `cost` says as of when, and has the budget if there is one."""

    period: UserUsage
    days: list[UsageDay] | None
    cost: UserCost | None


my_usage = View("my:usage:{user_id}", MyUsage, fresh_for=300, serve_stale_for=3600)


def _end_of_day(days: list[UsageDay]) -> float:
    last = datetime.fromisoformat(days[-1].day).replace(tzinfo=UTC)
    return (last + timedelta(days=1)).timestamp()


@my_usage.segment(until=lambda period: period.period_end.timestamp())
async def period(core: CoreClients, user_id: str) -> UserUsage:
    return await core.billing.usage_of_user(user_id)


@my_usage.segment(until=_end_of_day)
async def days(core: CoreClients, user_id: str) -> list[UsageDay]:
    return await core.billing.usage_days(user_id, days=DAYS)


@my_usage.segment(until=lambda cost: cost.as_of.timestamp() + COST_HOLDS_SECONDS)
async def cost(core: CoreClients, user_id: str) -> UserCost:
    return await core.billing.rating.cost(user_id)


@my_usage.audience
def audience(period: UserUsage) -> Audience:
    return Audience(owner=str(period.user_id))


@screen("/my/usage", my_usage, "usage:read", tags=["usage"])
async def show_my_usage(caller: NamedDependency[Caller], screens: NamedDependency[Screens]) -> ASGIApp:
    """Running time of the caller's devices in the present period, per day, and its cost so far."""
    return await screens.show(my_usage, user_id=caller.id)
