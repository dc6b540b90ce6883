"""Uploads over HTTP: tus 1.0 with creation, expiration, checksum and termination, and what our own clients ask beside.

A file of `Upload-Length` bytes is announced by POST and sent by PATCH, in as many requests as it takes; after the last
byte it is checked. `Upload-State` tells what has become of it, GET everything.
"""

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, get, head, patch, post, route
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from cloudphone_shared.contracts.app import AppVersion
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.upload import TusVersion, Upload, UploadGone, UploadPublish
from cloudphone_shared.database import Reply
from cloudphone_shared.errors import FieldError, Invalid, StateConflict, UnsupportedMediaType
from cloudphone_shared.http.app import PUBLIC, requires

from . import publishing, queries, uploads
from .models import UploadRow
from .receiving import Interrupted, receive
from .standing import Key, Stand, Who, once

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,checksum,termination"
PATCHED = "application/offset+octet-stream"
_CHECKED_WITHIN_SECONDS = 2.0
"""The last request of an upload waits for its check so long; a large file's goes on beside."""
_LONGEST_METADATA = 4096


async def speaks_tus(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if connection.headers.get("tus-resumable") != VERSION:
        raise TusVersion(f"Send: Tus-Resumable: {VERSION}", headers={"Tus-Version": VERSION})


_SENDS = [requires("apps:manage"), speaks_tus]


@route(["/v1/uploads", "/v1/uploads/{upload_id:uuid}"], http_method=HttpMethod.OPTIONS, opt=PUBLIC)
async def discover(store: Stand) -> Response[None]:
    abilities = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(store.rules.largest),
        "Tus-Checksum-Algorithm": "sha256",
    }
    return _tus(204, abilities)


@post("/v1/uploads", guards=_SENDS)
async def create_upload(request: Request[Any, Any, Any], store: Stand, caller: Who) -> Response[None]:
    """Upload-Length, and Upload-Metadata with `filename`, `appId` and `sha256` (in hex) where they are known."""
    wanted = _wanted(request)
    store.storage.check_room(wanted.length)
    async with store.database.writing() as session:
        upload_id = await uploads.create(session, caller, wanted, store.rules, store.now())
    async with store.database.reading() as session:
        row = await uploads.find(session, caller, upload_id)
    return _tus(201, {"Location": f"/v1/uploads/{upload_id}", **_place(row)})


@head("/v1/uploads/{upload_id:uuid}", guards=_SENDS)
async def look_up_upload(upload_id: FromPath[UUID], store: Stand, caller: Who) -> Response[None]:
    async with store.database.reading() as session:
        row = await uploads.find(session, caller, upload_id)
    if row.expires_at <= store.now():
        raise UploadGone
    return _tus(200, {"Cache-Control": "no-store", "Upload-Length": str(row.length), **_place(row)})


@get("/v1/uploads/{upload_id:uuid}", guards=[requires("apps:manage")])
async def get_upload(upload_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[Upload]:
    async with store.database.reading() as session:
        return Answer(data=uploads.shown(await uploads.find(session, caller, upload_id)), entities={})


@patch("/v1/uploads/{upload_id:uuid}", guards=_SENDS, request_max_body_size=None)
async def send_upload(
    request: Request[Any, Any, Any], upload_id: FromPath[UUID], store: Stand, caller: Who
) -> Response[None]:
    if request.headers.get("content-type") != PATCHED:
        raise UnsupportedMediaType(f"Send: Content-Type: {PATCHED}")
    offset, sha256 = _number(request, "Upload-Offset"), _checksum(request)
    async with store.database.writing() as session:
        turn = await uploads.take_turn(session, caller, upload_id, offset, store.rules, store.now())
    with contextlib.suppress(Interrupted):
        await receive(
            turn,
            _body(request),
            database=store.database,
            storage=store.storage,
            rules=store.rules,
            now=store.now,
            sha256=sha256,
        )
    async with store.database.reading() as session:
        row = await uploads.find(session, caller, upload_id)
    if row.state == "checking":
        await store.checks.soon(upload_id, _CHECKED_WITHIN_SECONDS)
    async with store.database.reading() as session:
        row = await uploads.find(session, caller, upload_id)
    return _tus(204, _place(row))


@delete("/v1/uploads/{upload_id:uuid}", guards=_SENDS, status_code=204)
async def delete_upload(upload_id: FromPath[UUID], store: Stand, caller: Who) -> Response[None]:
    """Also of one that has arrived; not of one that was published, or is being checked."""
    async with store.database.writing() as session:
        row = await uploads.find(session, caller, upload_id, lock=True)
        if row.state in ("checking", "published"):
            raise StateConflict(f"The upload is {row.state}", current_state=row.state, allowed=[])
        keys = await uploads.leftovers(session, row)
        await uploads.forget(session, [upload_id])
    await store.storage.delete(*keys)
    return _tus(204, {})


@post("/v1/uploads/{upload_id:uuid}/publish", guards=[requires("apps:manage")])
async def publish_upload(
    request: Request[Any, Any, Any],
    upload_id: FromPath[UUID],
    data: JSONBody[UploadPublish],
    store: Stand,
    caller: Who,
    key: Key = None,
) -> Response[Any]:
    """Makes the app's next version of it. Done twice, it is done once."""

    async def make(session: Any) -> Reply:
        version = await publishing.publish_upload(session, caller, upload_id, data, store.now())
        answer: Answer[AppVersion] = await queries.version_added(session, version)
        return Reply.of(answer, headers={"Location": f"/v1/apps/{version.app_id}/versions"})

    return await once(request, store, caller, key, make)


UPLOAD_HANDLERS = [
    discover, create_upload, look_up_upload, get_upload, send_upload, delete_upload, publish_upload,
]  # fmt: skip


def _tus(status: int, headers: dict[str, str]) -> Response[None]:
    return Response(None, status_code=status, headers={"Tus-Resumable": VERSION, **headers})


def _place(row: UploadRow) -> dict[str, str]:
    expires = format_datetime(row.expires_at.astimezone(UTC), usegmt=True)
    return {"Upload-Offset": str(row.received), "Upload-Expires": expires, "Upload-State": row.state}


def _wanted(request: Request[Any, Any, Any]) -> uploads.Wanted:
    length = _number(request, "Upload-Length")
    if length == 0:
        raise _bad("Upload-Length", "must be more than 0")
    told = _metadata(request.headers.get("upload-metadata", ""))
    sha256 = told.get("sha256", "").lower() or None
    if sha256 and not (len(sha256) == 64 and all(digit in "0123456789abcdef" for digit in sha256)):
        raise _bad("Upload-Metadata", "sha256 must be 64 hexadecimal digits")
    try:
        app_id = UUID(told["appId"]) if told.get("appId") else None
    except ValueError:
        raise _bad("Upload-Metadata", "appId must be an app's id") from None
    return uploads.Wanted(length=length, filename=told.get("filename", "")[:255], app_id=app_id, sha256=sha256)


def _metadata(text: str) -> dict[str, str]:
    if len(text) > _LONGEST_METADATA:
        raise _bad("Upload-Metadata", f"may have {_LONGEST_METADATA} characters at most")
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode().replace("\0", "")
        except (binascii.Error, UnicodeDecodeError):
            raise _bad("Upload-Metadata", f"{name} must be UTF-8 in base64") from None
    return found


def _checksum(request: Request[Any, Any, Any]) -> bytes | None:
    given = request.headers.get("upload-checksum")
    if given is None:
        return None
    algorithm, _, value = given.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if algorithm != "sha256" or len(digest) != 32:
        raise _bad("Upload-Checksum", "must be sha256 and the digest in base64")
    return digest


def _number(request: Request[Any, Any, Any], header: str) -> int:
    given = request.headers.get(header.lower(), "")
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise _bad(header, "must be a number of bytes")
    return int(given)


def _bad(header: str, message: str) -> Invalid:
    return Invalid(f"{header} {message}", errors=[FieldError(field=header, message=message)])


async def _body(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """Raises Interrupted when the sender goes away."""
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except (HTTPException, OSError):
        raise Interrupted from None
