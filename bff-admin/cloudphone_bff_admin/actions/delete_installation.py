"""An installation's record, removed."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/installations/{installation_id:uuid}",
    tags=["installations"],
    guards=[staff("installations:write")],
    responses=problems(404, 409),
)
async def delete_installation(
    installation_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> None:
    """Removes the record of an installation that has ended."""
    await core.app.delete_installation(installation_id, passing_on(caller))
