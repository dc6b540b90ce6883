"""The end of a template."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/templates/{template_id:uuid}",
    tags=["templates"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409),
)
async def delete_template(
    template_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> None:
    """Deletes a template from which no device is made."""
    await core.device.delete_template(template_id, passing_on(caller))
