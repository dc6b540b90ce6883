"""Whom one of the caller's devices is shared with, from the device service as it stands."""

from datetime import datetime
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.phone import Access, Grant
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


class MyGrant(Contract, frozen=True, kw_only=True):
    """`shared_with`: the other's name, as it was when the device was shared."""

    id: UUID
    device_id: UUID
    user_id: UUID
    shared_with: str
    access: Access
    until: datetime
    created_at: datetime

    @staticmethod
    def of(grant: Grant) -> "MyGrant":
        return MyGrant(
            id=grant.id,
            device_id=grant.device_id,
            user_id=grant.user_id,
            shared_with=grant.user_name,
            access=grant.access,
            until=grant.until,
            created_at=grant.created_at,
        )


@get(
    "/my/devices/{device_id:uuid}/grants",
    tags=["sharing"],
    guards=[requires("devices:read")],
    responses=problems(404),
)
async def list_my_grants(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[MyGrant]:
    """Whom one of the caller's devices is shared with at present, latest first."""
    return [MyGrant.of(each) for each in await core.device.grants(device_id, bearer=passing_on(caller))]
