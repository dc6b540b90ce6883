"""A new template."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Template, TemplateCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/templates",
    tags=["templates"],
    guards=[staff("devices:manage")],
    responses=problems(409, 413, 415, 422),
)
async def create_template(
    data: JSONBody[TemplateCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Template]:
    """Makes a template."""
    template = await core.device.create_template(data, passing_on(caller), idempotency_key=idempotency_key)
    return created("/admin/templates", template)
