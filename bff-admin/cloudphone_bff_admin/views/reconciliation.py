"""How containers and rows agree, as the device service last found it."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.phone import ReconcileReport
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import overseer


@get(
    "/admin/reconcile-reports",
    tags=["reconciliation"],
    guards=[overseer("fleet:read"), only_parameters()],
    responses=problems(),
)
async def list_reconcile_reports(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller], asked: NamedDependency[ListQuery]
) -> Page[ReconcileReport]:
    """Comparisons of containers with rows, latest first."""
    return await core.device.reconcile_reports(asked.listing(), bearer=passing_on(caller))


@get(
    "/admin/reconcile-reports/{report_id:uuid}",
    tags=["reconciliation"],
    guards=[overseer("fleet:read")],
    responses=problems(404),
)
async def show_reconcile_report(
    report_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> ReconcileReport:
    """One comparison: what did not agree, and what was done about it."""
    return await core.device.reconcile_report(report_id, bearer=passing_on(caller))
