"""Snapshots over HTTP."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.phone import RestoreCreate, Snapshot, SnapshotCreate
from cloudphone_shared.database import Database, Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.preconditions import expected_version

from . import snapshots
from .routes import IdempotencyKey, IfMatch, accepted, once

_WRITE = [requires("devices:write")]
_READ = [requires("devices:read")]


@get("/v1/devices/{device_id:uuid}/snapshots", guards=_READ)
async def list_snapshots(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[Snapshot]]:
    async with database.reading() as session:
        return await snapshots.snapshots_of(session, caller, device_id)


@post("/v1/devices/{device_id:uuid}/snapshots", guards=_WRITE, status_code=202)
async def take_snapshot(
    request: Request[Any, Any, Any],
    device_id: FromPath[UUID],
    data: JSONBody[SnapshotCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def produce(session: AsyncSession) -> Reply:
        expected = expected_version(if_match)
        return accepted(*await snapshots.take_snapshot(session, caller, device_id, data.name, expected))

    return await once(request, database, caller, idempotency_key, produce)


@get("/v1/snapshots/{snapshot_id:uuid}", guards=_READ)
async def get_snapshot(
    snapshot_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Snapshot]:
    async with database.reading() as session:
        return await snapshots.snapshot(session, caller, snapshot_id)


@delete("/v1/snapshots/{snapshot_id:uuid}", guards=_WRITE, status_code=202)
async def delete_snapshot(
    snapshot_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Response[Any]:
    async with database.writing() as session:
        reply = accepted(*await snapshots.delete_snapshot(session, caller, snapshot_id))
    return reply.response()


@post("/v1/devices/{device_id:uuid}/restore", guards=_WRITE, status_code=202)
async def restore_device(
    request: Request[Any, Any, Any],
    device_id: FromPath[UUID],
    data: JSONBody[RestoreCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def produce(session: AsyncSession) -> Reply:
        expected = expected_version(if_match)
        return accepted(*await snapshots.restore_snapshot(session, caller, device_id, data.snapshot_id, expected))

    return await once(request, database, caller, idempotency_key, produce)


SNAPSHOT_ROUTES = [list_snapshots, take_snapshot, get_snapshot, delete_snapshot, restore_device]
