"""Phones over HTTP: seen, used, and asked for their files. What a caller may not see is 404, whoever's it is."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.phone import InputCreate, MirrorCreate, Mirrored, PhoneFile, Vitals
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.streams import sent

from ..adb import Adb
from . import files
from .access import reach, reach_all
from .mirroring import mirror
from .refusals import answered
from .vitals import vitals_of

FilePath = Annotated[str, QueryParameter(name="path", min_length=1, max_length=1000)]
MOST_TRANSFERS = 32

_NOT_KEPT = {"Cache-Control": "no-store"}
_transfers = asyncio.Semaphore(MOST_TRANSFERS)


@get("/v1/devices/{device_id:uuid}/screenshot", guards=[requires("devices:read")], media_type="image/png")
async def get_screenshot(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database],
    adb: NamedDependency[Adb],
) -> Response[bytes]:  # fmt: skip
    address = (await reach(database, caller, device_id, "view")).running()
    with answered():
        return Response(await adb.screenshot(address), media_type="image/png", headers=_NOT_KEPT)


@post("/v1/devices/{device_id:uuid}/input", status_code=200, guards=[requires("devices:write")])
async def send_input(
    device_id: FromPath[UUID], data: JSONBody[InputCreate], caller: NamedDependency[Caller],
    database: NamedDependency[Database], adb: NamedDependency[Adb],
) -> Answer[None]:  # fmt: skip
    address = (await reach(database, caller, device_id, "control")).running()
    with answered():
        await adb.input(address, data.events)
    return Answer(data=None, entities={})


@post("/v1/devices/input", status_code=200, guards=[requires("devices:write")])
async def mirror_input(
    data: JSONBody[MirrorCreate], caller: NamedDependency[Caller], database: NamedDependency[Database],
    adb: NamedDependency[Adb],
) -> Answer[Mirrored]:  # fmt: skip
    since = time.monotonic()
    reached = await reach_all(database, caller, data.device_ids, "control")
    return Answer(data=await mirror(adb, reached, data.events, since), entities={})


@get("/v1/devices/{device_id:uuid}/vitals", guards=[requires("devices:read")])
async def get_vitals(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Vitals]:
    reached = await reach(database, caller, device_id, "view")
    return Answer(data=(await vitals_of(database, [reached]))[device_id], entities={})


@get("/v1/devices/vitals", guards=[requires("devices:read")])
async def get_many_vitals(
    caller: NamedDependency[Caller], database: NamedDependency[Database], ids: Ids
) -> Answer[Many[Vitals]]:
    """Under no version: they change without announcement."""
    reached = await reach_all(database, caller, parse_ids(ids), "view")
    seen = [found for found in reached.values() if not isinstance(found, Exception)]
    vitals = await vitals_of(database, seen)
    return Answer(
        data=Many(
            found={str(device_id): Answer(data=each, entities={}) for device_id, each in vitals.items()},
            absent={str(device_id): {} for device_id in reached if device_id not in vitals},
        ),
        entities={},
    )


@get("/v1/devices/{device_id:uuid}/files", guards=[requires("devices:write")])
async def list_files(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database],
    adb: NamedDependency[Adb], path: FilePath = files.ROOT,
) -> Answer[list[PhoneFile]]:  # fmt: skip
    address = (await reach(database, caller, device_id, "control")).running()
    with answered():
        return Answer(data=await files.listed(adb, address, path), entities={})


@get("/v1/devices/{device_id:uuid}/files/content", guards=[requires("devices:write")])
async def pull_file(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database],
    adb: NamedDependency[Adb], path: FilePath,
) -> Stream:  # fmt: skip
    address = (await reach(database, caller, device_id, "control")).running()
    flow = _flow(adb, address, path)
    with answered():
        # What is wrong with it is known before the answer begins.
        first = await anext(flow)
    headers = {**_NOT_KEPT, "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Stream(_with(first, flow), media_type="application/octet-stream", headers=headers)


@put(
    "/v1/devices/{device_id:uuid}/files/content",
    guards=[requires("devices:write")],
    request_max_body_size=files.MOST_BYTES,
)
async def push_file(
    request: Request[Any, Any, Any], device_id: FromPath[UUID], caller: NamedDependency[Caller],
    database: NamedDependency[Database], adb: NamedDependency[Adb], path: FilePath,
) -> Answer[None]:  # fmt: skip
    address = (await reach(database, caller, device_id, "control")).running()
    async with _transfer():
        with answered():
            await files.pushed(adb, address, path, sent(request.stream()))
    return Answer(data=None, entities={})


async def _flow(adb: Adb, address: str, path: str) -> AsyncGenerator[bytes]:
    async with _transfer(), aclosing(await files.pulled(adb, address, path)) as parts:
        async for part in parts:
            yield part


async def _with(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part


@asynccontextmanager
async def _transfer() -> AsyncGenerator[None]:
    """Files wait in memory only in parts, but each has connections of its own: there is a bound to them."""
    if _transfers.locked():
        raise Unavailable("device", f"{MOST_TRANSFERS} files are on their way already", retry_after=5.0)
    async with _transfers:
        yield


LIVE_ROUTES = [
    get_screenshot,
    send_input,
    mirror_input,
    get_vitals,
    get_many_vitals,
    list_files,
    pull_file,
    push_file,
]
