"""The cache worker's HTTP process: warm-ups triggered, watched and scheduled."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
from litestar import Litestar, get, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from cloudphone_shared.auth import JWKS_PATH, Caller, TokenVerifier
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.warmup import WarmupRun, WarmupSchedule, WarmupStatus
from cloudphone_shared.database import Cursors, Database
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.settings import Auth, Databases, Network, WarmupSettings, load

from . import runs


async def _sees_all(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if caller_of(connection).data_scope != "all":
        raise Forbidden("The warm-up is for every tenant's views; your account sees its own tenant's alone")


_READ = [requires("warmups:read")]
_MANAGE = [requires("warmups:manage"), _sees_all]


@get("/v1/warmups", guards=_READ)
async def show_status(
    caller: NamedDependency[Caller], database: NamedDependency[Database], usual_cron: NamedDependency[str]
) -> Answer[WarmupStatus]:
    async with database.reading() as session:
        status = await runs.status(session, usual_cron)
    told = {name: _told(run, caller) for name in ("current", "last") if (run := getattr(status, name)) is not None}
    return Answer(data=msgspec.structs.replace(status, **told), entities={})


@get("/v1/warmups/runs", guards=_READ)
async def list_runs(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    limit: FromQuery[int] = 20,
    cursor: FromQuery[str | None] = None,
) -> Answer[Page[WarmupRun]]:
    async with database.reading() as session:
        found = await runs.history(session, cursors, limit=limit, cursor=cursor)
    return Answer(
        data=Page(items=[_told(run, caller) for run in found.items], next_cursor=found.next_cursor), entities={}
    )


@get("/v1/warmups/runs/{run_id:uuid}", guards=_READ)
async def show_run(
    run_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[WarmupRun]:
    async with database.reading() as session:
        return Answer(data=_told(await runs.find(session, run_id), caller), entities={})


@post("/v1/warmups/runs", guards=_MANAGE, status_code=202)
async def trigger_run(database: NamedDependency[Database]) -> Answer[WarmupRun]:
    async with database.writing() as session:
        return Answer(data=await runs.trigger(session, "manual"), entities={})


@post("/v1/warmups/pause", guards=_MANAGE, status_code=200)
async def pause(database: NamedDependency[Database], usual_cron: NamedDependency[str]) -> Answer[WarmupStatus]:
    return await _set_paused(database, usual_cron, paused=True)


@post("/v1/warmups/resume", guards=_MANAGE, status_code=200)
async def resume(database: NamedDependency[Database], usual_cron: NamedDependency[str]) -> Answer[WarmupStatus]:
    return await _set_paused(database, usual_cron, paused=False)


@put("/v1/warmups/schedule", guards=_MANAGE)
async def reschedule(
    data: JSONBody[WarmupSchedule], database: NamedDependency[Database], usual_cron: NamedDependency[str]
) -> Answer[WarmupStatus]:
    async with database.writing() as session:
        await runs.reschedule(session, data.cron)
        return Answer(data=await runs.status(session, usual_cron), entities={})


def _told(run: WarmupRun, caller: Caller) -> WarmupRun:
    """Failures name views of every tenant: for who sees all of them."""
    return run if caller.data_scope == "all" else msgspec.structs.replace(run, failures=[])


async def _set_paused(database: Database, cron: str, *, paused: bool) -> Answer[WarmupStatus]:
    async with database.writing() as session:
        await runs.pause(session, paused=paused)
        return Answer(data=await runs.status(session, cron), entities={})


def create_app(
    *, database: Database | None = None, verifier: TokenVerifier | None = None, cursor_key: str | None = None
) -> Edge:
    """With no arguments everything is as the settings say."""
    db = database or warmup_database()
    cursors = Cursors(cursor_key or load(Auth).cursor_key)
    cron = load(WarmupSettings).warmup_schedule

    async def provide_database() -> Database:
        return db

    async def provide_cursors() -> Cursors:
        return cursors

    # Not named as a field of a body is: Litestar would take a bad value of that field for a fault of ours.
    async def provide_cron() -> str:
        return cron

    @asynccontextmanager
    async def closing(app: Litestar) -> AsyncGenerator[None]:
        yield
        await db.close()

    return http_app(
        "cache-worker",
        [show_status, list_runs, show_run, trigger_run, pause, resume, reschedule],
        verifier=verifier or TokenVerifier(load(Network).url_of("user") + JWKS_PATH),
        ready={"database": db.ready},
        lifespan=[closing],
        dependencies={
            "database": Provide(provide_database),
            "cursors": Provide(provide_cursors),
            "usual_cron": Provide(provide_cron),
        },
    )


def warmup_database() -> Database:
    databases = load(Databases)
    return Database(databases.url_of("cache"), schema="warmup", service="cache", pool_size=4)
