"""A template's fields."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Template, TemplatePatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/templates/{template_id:uuid}",
    tags=["templates"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_template(
    template_id: FromPath[UUID],
    data: JSONBody[TemplatePatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Template:
    """Changes a template; what is left out stays."""
    return await core.device.change_template(template_id, data, passing_on(caller), if_match=if_match)
