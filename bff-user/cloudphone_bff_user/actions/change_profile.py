"""The caller's own name, address and settings."""

from typing import Annotated
from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Request
from cloudphone_shared.contracts.common import Name
from cloudphone_shared.contracts.user import UserPatch
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..views.my_profile import Profile


class ProfilePatch(Request, frozen=True, kw_only=True):
    """Fields left out stay as they are."""

    name: Name | UnsetType = UNSET
    phone: Annotated[str, Meta(max_length=32, pattern=r"^\+?[0-9 ()-]{3,32}$")] | UnsetType | None = UNSET
    locale: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] | UnsetType = UNSET


@patch("/my/profile", tags=["profile"], guards=[requires("users:write")], responses=problems(404, 409, 412, 413, 415))
async def change_profile(
    data: JSONBody[ProfilePatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Profile:
    """Changes the caller's name, phone number or language."""
    patch = UserPatch(name=data.name, phone=data.phone, locale=data.locale)
    return Profile.of(await core.user.change(UUID(caller.id), patch, passing_on(caller), if_match=if_match))
