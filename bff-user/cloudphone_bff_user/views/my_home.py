"""The portal's first screen: who the caller is, the devices, the balance and the use of this period."""

from collections.abc import Sequence

from litestar.di import NamedDependency
from litestar.types import ASGIApp

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, items_in_order, one_noted
from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts import device as owned
from cloudphone_shared.contracts.billing import Balance, UserUsage

from ..portal import screen
from .my_devices import MyDeviceSummary
from .my_profile import Profile

SHOWN_DEVICES = 12


class DevicesHeld(Contract, frozen=True, kw_only=True):
    """`total` the caller holds; the first 12 by name are `items`."""

    total: int
    items: list[MyDeviceSummary]

    @staticmethod
    def of(held: owned.DevicesHeld) -> "DevicesHeld":
        return DevicesHeld(total=held.total, items=[MyDeviceSummary.of(each) for each in held.items])


class MyHome(Contract, frozen=True, kw_only=True):
    """`balance` is null before the first transfer; every part but the profile may be null while its service is away."""

    profile: Profile
    devices: DevicesHeld | None
    balance: Balance | None
    usage: UserUsage | None


my_home = View("my:home:{user_id}", MyHome, fresh_for=300, serve_stale_for=3600)


@my_home.segment
async def profile(core: CoreClients, user_id: str) -> Profile:
    return Profile.of(await core.user.get(user_id))


@my_home.many("profile")
async def profiles(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("user", await core.user.get_many(user_id), user_id, Profile.of)


@my_home.segment
async def devices(core: CoreClients, user_id: str) -> DevicesHeld:
    return DevicesHeld.of(await one_noted("device", core.device.held_by([user_id], SHOWN_DEVICES), user_id))


@my_home.many("devices")
async def devices_of_many(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.held_by(user_id, SHOWN_DEVICES), user_id, DevicesHeld.of)


@my_home.segment
async def balance(core: CoreClients, user_id: str) -> Balance | None:
    return await core.billing.ledger.balance(user_id)


@my_home.many("balance")
async def balances(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.ledger.balances(user_id), user_id)


@my_home.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, user_id: str) -> UserUsage:
    return await core.billing.usage_of_user(user_id)


@my_home.many("usage")
async def usage_of_many(core: CoreClients, user_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.usage_of_users(user_id), user_id)


@my_home.audience
def audience(profile: Profile) -> Audience:
    return Audience(owner=str(profile.id))


@screen("/my/home", my_home, "devices:read", tags=["home"])
async def show_my_home(caller: NamedDependency[Caller], screens: NamedDependency[Screens]) -> ASGIApp:
    """Everything for the first screen, in one call."""
    return await screens.show(my_home, user_id=caller.id)
