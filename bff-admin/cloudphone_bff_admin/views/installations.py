"""Apps on devices, from the app service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.app import Installation, InstallationState
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/installations",
    tags=["installations"],
    guards=[staff("apps:read"), only_parameters("deviceId", "appId", "appVersionId", "state")],
    responses=problems(),
)
async def list_installations(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    app_id: Annotated[UUID | None, QueryParameter(name="appId")] = None,
    app_version_id: Annotated[UUID | None, QueryParameter(name="appVersionId")] = None,
    present_state: Annotated[InstallationState | None, QueryParameter(name="state")] = None,
) -> Page[Installation]:
    """Installations, latest first."""
    listing = asked.listing(deviceId=device_id, appId=app_id, appVersionId=app_version_id, state=present_state)
    return await core.app.installation_page(listing, bearer=passing_on(caller))


@get(
    "/admin/installations/{installation_id:uuid}",
    tags=["installations"],
    guards=[staff("apps:read")],
    responses=problems(404),
)
async def show_installation(
    installation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Installation:
    """An installation: how far it is, or why it failed."""
    return await core.app.installation(installation_id, bearer=passing_on(caller))
