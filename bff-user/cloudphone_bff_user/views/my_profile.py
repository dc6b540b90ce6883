"""The caller's own account."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.user import User

from ..portal import screen


class Profile(Contract, frozen=True, kw_only=True):
    """`version` is the account's own, as `"v<version>"` in If-Match."""

    id: UUID
    name: str
    email: str
    phone: str | None
    locale: str
    tenant_name: str
    created_at: datetime
    version: int

    @staticmethod
    def of(user: User) -> "Profile":
        return msgspec.convert(user, Profile, from_attributes=True)


class MyProfile(Contract, frozen=True, kw_only=True):
    profile: Profile


my_profile = View("my:profile:{user_id}", MyProfile, fresh_for=300, serve_stale_for=3600)


@my_profile.segment
async def profile(core: CoreClients, user_id: str) -> Profile:
    return Profile.of(await core.user.get(user_id))


@my_profile.audience
def audience(profile: Profile) -> Audience:
    return Audience(owner=str(profile.id))


@screen("/my/profile", my_profile, "users:read", tags=["profile"])
async def show_my_profile(caller: NamedDependency[Caller], screens: NamedDependency[Screens]) -> ASGIApp:
    """The caller's account."""
    return await screens.show(my_profile, user_id=caller.id)
