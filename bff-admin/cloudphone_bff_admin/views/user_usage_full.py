"""A user's running time on one screen: who it is, the present period by device, the last thirty days."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import UsageDay, UserUsage
from cloudphone_shared.contracts.user import User

from ..staff import screen


class UserUsageFull(Contract, frozen=True, kw_only=True):
    """`days` in UTC, oldest first. Both parts may be null while the billing service is away."""

    user: User
    usage: UserUsage | None
    days: list[UsageDay] | None


user_usage_full = View("user:usage:{user_id}", UserUsageFull, fresh_for=300, serve_stale_for=3600)


@user_usage_full.segment
async def user(core: CoreClients, user_id: str) -> User:
    return await core.user.get(user_id)


@user_usage_full.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, user_id: str) -> UserUsage:
    return await core.billing.usage_of_user(user_id)


@user_usage_full.segment(until=lambda days: _end_of(days[-1]))
async def days(core: CoreClients, user_id: str) -> list[UsageDay]:
    return await core.billing.usage_days(user_id)


def _end_of(day: UsageDay) -> float:
    return (datetime.fromisoformat(day.day).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()


@user_usage_full.audience
def audience(user: User) -> Audience:
    return Audience(tenant=str(user.tenant_id), owner=str(user.id))


@screen("/admin/users/{user_id:uuid}/usage", user_usage_full, "usage:read", 404, tags=["usage"])
async def show_user_usage(user_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """A user's running time: the present period by device, and the last thirty days."""
    return await screens.show(user_usage_full, user_id=user_id)
