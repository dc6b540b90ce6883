"""What becomes of an installation: given up, tried again, or taken off its device."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import Installation
from cloudphone_shared.http.operations import IdempotencyKey, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("installations:write")]


@post(
    "/admin/installations/{installation_id:uuid}/cancel",
    status_code=202,
    tags=["installations"],
    guards=_GUARDS,
    responses=problems(404, 409),
)
async def cancel_installation(
    installation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[Installation]:
    """Asks for an installation to be given up. It ends at its next step, unless it is past that."""
    return _accepted(await core.app.cancel_installation(installation_id, passing_on(caller)))


@post(
    "/admin/installations/{installation_id:uuid}/retry",
    status_code=202,
    tags=["installations"],
    guards=_GUARDS,
    responses=problems(404, 409, 422),
)
async def retry_installation(
    installation_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Installation]:
    """Tries once more what failed or was cancelled, as a new installation."""
    again = await core.app.retry_installation(installation_id, passing_on(caller), idempotency_key=idempotency_key)
    return _accepted(again)


@post(
    "/admin/installations/{installation_id:uuid}/uninstall",
    status_code=202,
    tags=["installations"],
    guards=_GUARDS,
    responses=problems(404, 409),
)
async def uninstall_app(
    installation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[Installation]:
    """Takes an app off its device."""
    return _accepted(await core.app.uninstall(installation_id, passing_on(caller)))


def _accepted(installation: Installation) -> Response[Installation]:
    return accepted(f"/admin/installations/{installation.id}", installation)


DIRECTING = [cancel_installation, retry_installation, uninstall_app]
