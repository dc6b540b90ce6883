"""Reports over HTTP, for who looks after the fleet of all tenants."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.device import Provider
from cloudphone_shared.contracts.phone import ReconcileReport
from cloudphone_shared.database import Cursors, Database
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from . import reports


async def _over_all_tenants(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if caller_of(connection).data_scope != "all":
        raise Forbidden("Containers are those of all tenants: only a caller who sees them all may ask")


@get("/v1/reconcile-reports", guards=[requires("fleet:read"), _over_all_tenants, only_parameters()])
async def list_reports(
    database: NamedDependency[Database], cursors: NamedDependency[Cursors], asked: NamedDependency[ListQuery]
) -> Answer[Page[ReconcileReport]]:
    async with database.reading() as session:
        return await reports.reports(session, asked, cursors)


@get("/v1/reconcile-reports/{report_id:uuid}", guards=[requires("fleet:read"), _over_all_tenants])
async def get_report(report_id: FromPath[UUID], database: NamedDependency[Database]) -> Answer[ReconcileReport]:
    async with database.reading() as session:
        return await reports.one_report(session, report_id)


@post("/v1/reconcile-reports", guards=[requires("fleet:manage"), _over_all_tenants])
async def ask_for_report(
    database: NamedDependency[Database], provider: NamedDependency[Provider]
) -> Response[Answer[ReconcileReport]]:
    """A worker takes it up within seconds; one that is waited for already is not asked for twice."""
    async with database.writing() as session:
        asked = await reports.ask_for(session, provider)
    answer = Answer(data=asked, entities={})
    return Response(answer, status_code=202, headers={"Location": f"/v1/reconcile-reports/{asked.id}"})


RECONCILE_ROUTES = [list_reports, get_report, ask_for_report]
