"""The end of a device's sharing."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@delete("/my/grants/{grant_id:uuid}", tags=["sharing"], guards=[requires("devices:write")], responses=problems(404))
async def revoke_grant(
    grant_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> None:
    """Ends a grant at once, whether the caller gave it or was given it."""
    await core.device.revoke_grant(grant_id, passing_on(caller))
