"""An installation's next state."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import Installation, InstallationPatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/installations/{installation_id:uuid}",
    tags=["installations"],
    guards=[staff("installations:write")],
    responses=problems(404, 409, 413, 415),
)
async def change_installation(
    installation_id: FromPath[UUID],
    data: JSONBody[InstallationPatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> Installation:
    """Takes an installation's next step, along its table of states."""
    return await core.app.change_installation(installation_id, data, passing_on(caller))
