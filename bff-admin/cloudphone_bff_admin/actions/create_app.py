"""A new app in the catalogue."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import App, AppCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/apps",
    tags=["apps"],
    guards=[staff("apps:manage")],
    responses=problems(409, 413, 415, 422),
)
async def create_app(
    data: JSONBody[AppCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[App]:
    """Adds an app to the catalogue."""
    app = await core.app.create(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/apps/{app.id}", app)
