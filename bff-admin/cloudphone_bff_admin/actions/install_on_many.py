"""An app for many devices."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import InstallationBatch, InstallationBatchCreate
from cloudphone_shared.http.operations import IdempotencyKey
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/installations/batch",
    status_code=202,
    tags=["installations"],
    guards=[staff("installations:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def install_on_many(
    data: JSONBody[InstallationBatchCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> InstallationBatch:
    """Installs a version on up to 500 devices. Each is accepted or refused by itself."""
    return await core.app.install_on_many(data, passing_on(caller), idempotency_key=idempotency_key)
