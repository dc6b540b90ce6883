"""Installations over HTTP: asked for, followed, ended."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.owners import device_named
from cloudphone_shared.contracts.app import (
    Installation,
    InstallationBatch,
    InstallationBatchCreate,
    InstallationCreate,
    InstallationPatch,
    InstallationState,
)
from cloudphone_shared.contracts.common import MOST_IDS, Answer, Page
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.database import Reply
from cloudphone_shared.errors import Forbidden, NotFound
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from . import installing, queries
from .installing import Target
from .standing import Key, Stand, Store, Who, once

_WRITES = [requires("installations:write")]


@post("/v1/installations", guards=_WRITES)
async def install(
    request: Request[Any, Any, Any], data: JSONBody[InstallationCreate], store: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    target = await _target(store, caller, data.device_id)

    async def make(session: AsyncSession) -> Reply:
        made = await installing.install(session, caller, target, data.app_version_id, store.now())
        return await _accepted(session, made.id)

    return await once(request, store, caller, key, make)


@post("/v1/installations/batch", guards=_WRITES)
async def install_on_many(
    request: Request[Any, Any, Any], data: JSONBody[InstallationBatchCreate], store: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    """One version on up to 500 devices, one answer for each."""
    device_ids = list(dict.fromkeys(data.device_ids))
    targets = await _targets(store, caller, device_ids)

    async def make(session: AsyncSession) -> Reply:
        made = await installing.install_all(session, caller, targets, data.app_version_id, store.now())
        found = dict(zip((target.device.id for target in targets), made, strict=True))
        answer: Answer[InstallationBatch] = await queries.batch(session, device_ids, found)
        return Reply.of(answer, status=202)

    return await once(request, store, caller, key, make)


@get(
    "/v1/installations",
    guards=[requires("apps:read"), only_parameters("deviceId", "appId", "appVersionId", "state")],
)
async def list_installations(
    store: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    app_id: Annotated[UUID | None, QueryParameter(name="appId")] = None,
    app_version_id: Annotated[UUID | None, QueryParameter(name="appVersionId")] = None,
    in_state: Annotated[InstallationState | None, QueryParameter(name="state")] = None,
) -> Answer[Page[Installation]]:
    """For staff; a customer's are listed by device."""
    if caller.data_scope == "self":
        raise Forbidden("Installations are listed by device")
    async with store.database.reading() as session:
        return await queries.installation_page(
            session,
            caller,
            asked,
            store.cursors,
            device_id=device_id,
            app_id=app_id,
            app_version_id=app_version_id,
            state=in_state,
        )


@get("/v1/installations/{installation_id:uuid}", guards=[requires("apps:read")])
async def get_installation(installation_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[Installation]:
    await _may_see(store, caller, installation_id)
    async with store.database.reading() as session:
        return await queries.installation(session, installation_id)


@patch("/v1/installations/{installation_id:uuid}", guards=_WRITES)
async def change_installation(
    installation_id: FromPath[UUID], data: JSONBody[InstallationPatch], store: Stand, caller: Who
) -> Answer[Installation]:
    await _may_see(store, caller, installation_id)
    async with store.database.writing() as session:
        await installing.take_step(session, caller, installation_id, data.state, store.now())
        return await queries.installation(session, installation_id)


@post("/v1/installations/{installation_id:uuid}/cancel", guards=_WRITES, status_code=202)
async def cancel_installation(installation_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[Installation]:
    """Asked for twice it is asked for once."""
    await _may_see(store, caller, installation_id)
    async with store.database.writing() as session:
        await installing.cancel(session, installation_id, store.now())
        return await queries.installation(session, installation_id)


@post("/v1/installations/{installation_id:uuid}/uninstall", guards=_WRITES, status_code=202)
async def uninstall(installation_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[Installation]:
    await _may_see(store, caller, installation_id)
    async with store.database.writing() as session:
        await installing.uninstall(session, installation_id, store.now())
        return await queries.installation(session, installation_id)


@post("/v1/installations/{installation_id:uuid}/retry", guards=_WRITES)
async def retry_installation(
    request: Request[Any, Any, Any], installation_id: FromPath[UUID], store: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    """A new attempt at what failed or was cancelled, in a record of its own."""
    device_id = await _may_see(store, caller, installation_id)
    target = await _target(store, caller, device_id)

    async def make(session: AsyncSession) -> Reply:
        made = await installing.retry(session, caller, installation_id, target, store.now())
        return await _accepted(session, made.id)

    return await once(request, store, caller, key, make)


@delete("/v1/installations/{installation_id:uuid}", guards=_WRITES, status_code=200)
async def delete_installation(installation_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[None]:
    await _may_see(store, caller, installation_id)
    async with store.database.writing() as session:
        return Answer(data=None, entities=await installing.remove_record(session, installation_id))


INSTALLATION_HANDLERS = [
    install, install_on_many, list_installations, get_installation, change_installation, cancel_installation, uninstall,
    retry_installation, delete_installation,
]  # fmt: skip


async def _accepted(session: AsyncSession, installation_id: UUID) -> Reply:
    place = {"Location": f"/v1/installations/{installation_id}"}
    return Reply.of(await queries.installation(session, installation_id), status=202, headers=place)


async def _target(store: Store, caller: Caller, device_id: UUID) -> Target:
    device = await device_named(store.core, caller, device_id)
    return Target(device=device, template=await store.templates.of(device))


async def _targets(store: Store, caller: Caller, device_ids: list[UUID]) -> list[Target]:
    """Those of the devices that there are and that the caller may name."""
    pieces = [device_ids[start : start + MOST_IDS] for start in range(0, len(device_ids), MOST_IDS)]
    answers = await asyncio.gather(*(store.core.device.get_many_full(piece) for piece in pieces))
    found: dict[UUID, Device] = {each.data.id: each.data for answer in answers for each in answer.found.values()}
    named = [found[one] for one in device_ids if one in found]
    seen = [device for device in named if caller.sees(device.tenant_id, device.owner_id)]
    return [Target(device=device, template=await store.templates.of(device)) for device in seen]


async def _may_see(store: Store, caller: Caller, installation_id: UUID) -> UUID:
    """An installation is its device's: a customer's only while the device is. Returns the device. Raises NotFound."""
    async with store.database.reading() as session:
        device_id, tenant_id = await queries.place_of(session, installation_id)
    if caller.data_scope == "self":
        try:
            await device_named(store.core, caller, device_id)
        except NotFound:
            raise NotFound from None
    elif not caller.sees(tenant_id, None):
        raise NotFound
    return device_id
