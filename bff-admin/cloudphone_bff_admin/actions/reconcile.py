"""A comparison of containers with rows, now."""

from litestar import Response, post
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import ReconcileReport
from cloudphone_shared.http.operations import accepted
from cloudphone_shared.http.problems import problems

from ..staff import overseer


@post(
    "/admin/reconcile-reports",
    status_code=202,
    tags=["reconciliation"],
    guards=[overseer("fleet:manage")],
    responses=problems(409),
)
async def reconcile(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> Response[ReconcileReport]:
    """Begins a comparison of containers with rows, and mends what it can."""
    report = await core.device.reconcile(passing_on(caller))
    return accepted(f"/admin/reconcile-reports/{report.id}", report)
