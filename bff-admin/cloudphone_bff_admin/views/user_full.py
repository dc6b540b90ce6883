"""A user's screen: the account with its devices, orders, balance, use and quotas."""

from collections.abc import Sequence
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, items_in_order, one_noted
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts import device as owned
from cloudphone_shared.contracts.billing import Balance, OrderSummary, UserUsage
from cloudphone_shared.contracts.quota import Quota
from cloudphone_shared.contracts.user import User

from ..shown import ShownDeviceSummary, ShownOrderSummary
from ..staff import screen

SHOWN_DEVICES = 50


class DevicesHeld(Contract, frozen=True, kw_only=True):
    """`total` the user holds; the first 50 by name are `items`."""

    total: int
    items: list[ShownDeviceSummary]

    @staticmethod
    def of(held: owned.DevicesHeld) -> "DevicesHeld":
        return DevicesHeld(total=held.total, items=[ShownDeviceSummary.of(each) for each in held.items])


class UserFull(Contract, frozen=True, kw_only=True):
    """The latest 50 orders. `balance` is null before the first transfer; every part but the user may be null while
    its service is away."""

    user: User
    devices: DevicesHeld | None
    orders: list[ShownOrderSummary] | None
    balance: Balance | None
    usage: UserUsage | None
    quotas: list[Quota] | None


user_full = View("user:full:{user_id}", UserFull, fresh_for=300, serve_stale_for=3600)


@user_full.segment
async def user(core: CoreClients, user_id: str) -> User:
    return await core.user.get(user_id)


@user_full.many("user")
async def users(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("user", await core.user.get_many(user_id), user_id)


@user_full.segment
async def devices(core: CoreClients, user_id: str) -> DevicesHeld:
    return DevicesHeld.of(await one_noted("device", core.device.held_by([user_id], SHOWN_DEVICES), user_id))


@user_full.many("devices")
async def devices_of_many(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.held_by(user_id, SHOWN_DEVICES), user_id, DevicesHeld.of)


@user_full.segment
async def orders(core: CoreClients, user_id: str) -> list[ShownOrderSummary]:
    return _shown(await core.billing.orders_of(user_id))


@user_full.many("orders")
async def orders_of_many(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.latest_orders(user_id), user_id, _shown)


def _shown(orders: list[OrderSummary]) -> list[ShownOrderSummary]:
    return [ShownOrderSummary.of(order) for order in orders]


@user_full.segment
async def balance(core: CoreClients, user_id: str) -> Balance | None:
    return await core.billing.ledger.balance(user_id)


@user_full.many("balance")
async def balances(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.ledger.balances(user_id), user_id)


@user_full.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, user_id: str) -> UserUsage:
    return await core.billing.usage_of_user(user_id)


@user_full.many("usage")
async def usage_of_many(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.usage_of_users(user_id), user_id)


@user_full.segment
async def quotas(core: CoreClients, user_id: str) -> list[Quota]:
    return await core.user.quotas(user_id)


@user_full.audience
def audience(user: User) -> Audience:
    return Audience(tenant=str(user.tenant_id), owner=str(user.id))


@screen("/admin/users/{user_id:uuid}", user_full, "users:read", 404, tags=["users"])
async def show_user(user_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """A user with devices, orders, balance, use in the present period, and quotas."""
    return await screens.show(user_full, user_id=user_id)
