"""The store's screens and files over HTTP: categories, pictures, APKs, and what is put before customers."""

import re
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from cloudphone_shared.contracts.app import App, AppVersion, Category
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.errors import DomainError
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.preconditions import etag

from . import publishing, queries
from .standing import Stand, Who

APK = "application/vnd.android.package-archive"
_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


class RangeNotSatisfiable(DomainError):
    status = 416
    code = "range-not-satisfiable"
    title = "The file does not have these bytes"


@get("/v1/apps/categories", guards=[requires("apps:read")])
async def list_categories(store: Stand, caller: Who) -> Answer[list[Category]]:
    async with store.database.reading() as session:
        return await queries.categories(session, caller)


@get("/v1/apps/{app_id:uuid}/icon", guards=[requires("apps:read")])
async def app_icon(
    app_id: FromPath[UUID], request: Request[Any, Any, Any], store: Stand, caller: Who
) -> Response[bytes]:
    """A PNG or WebP picture."""
    async with store.database.reading() as session:
        key = await queries.icon_of(session, caller, app_id)
    headers = {"ETag": f'"{key.rpartition("/")[2]}"', "Cache-Control": "private, max-age=300"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(b"", status_code=304, headers=headers)
    picture = await store.storage.get(key)
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/webp"
    return Response(picture, media_type=kind, headers={**headers, "X-Content-Type-Options": "nosniff"})


@post("/v1/apps/{app_id:uuid}/publish", guards=[requires("apps:manage")], status_code=200)
async def publish_app(app_id: FromPath[UUID], store: Stand, caller: Who) -> Response[Answer[App]]:
    return await _show_app(store, caller, app_id, published=True)


@post("/v1/apps/{app_id:uuid}/unpublish", guards=[requires("apps:manage")], status_code=200)
async def unpublish_app(app_id: FromPath[UUID], store: Stand, caller: Who) -> Response[Answer[App]]:
    return await _show_app(store, caller, app_id, published=False)


@post("/v1/app-versions/{version_id:uuid}/publish", guards=[requires("apps:manage")], status_code=200)
async def publish_version(version_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[AppVersion]:
    return await _show_version(store, caller, version_id, published=True)


@post("/v1/app-versions/{version_id:uuid}/unpublish", guards=[requires("apps:manage")], status_code=200)
async def unpublish_version(version_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[AppVersion]:
    return await _show_version(store, caller, version_id, published=False)


@get("/v1/app-versions/{version_id:uuid}/apk", guards=[requires("apps:download")])
async def download(version_id: FromPath[UUID], request: Request[Any, Any, Any], store: Stand) -> Response[Any]:
    """Whole, or one range of bytes."""
    async with store.database.reading() as session:
        key, size, sha256 = await queries.file_of(session, version_id)
    asked = request.headers.get("range")
    if request.headers.get("if-range", f'"{sha256}"') != f'"{sha256}"':
        asked = None
    start, end = _range(asked, size) if asked else (0, size)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{sha256}"', "Content-Length": str(end - start)}
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    pieces = await store.storage.stream(key, start, end)
    return Stream(pieces, status_code=206 if asked else 200, headers=headers, media_type=APK)  # pyright: ignore


FILE_HANDLERS = [
    list_categories, app_icon, publish_app, unpublish_app, publish_version, unpublish_version, download,
]  # fmt: skip


async def _show_app(store: Stand, caller: Who, app_id: UUID, *, published: bool) -> Response[Answer[App]]:
    async with store.database.writing() as session:
        await publishing.show_app(session, caller, app_id, store.now(), published=published)
        answer = await queries.app(session, caller, app_id)
    return Response(answer, headers={"ETag": etag(answer.data.version)})


async def _show_version(store: Stand, caller: Who, version_id: UUID, *, published: bool) -> Answer[AppVersion]:
    async with store.database.writing() as session:
        version = await publishing.show_version(session, caller, version_id, store.now(), published=published)
        return await queries.version_added(session, version)


def _range(asked: str, size: int) -> tuple[int, int]:
    """From and up to, of `bytes=a-b`, `bytes=a-` or `bytes=-n`. Raises RangeNotSatisfiable."""
    found = _RANGE.match(asked)
    if found and any(found.groups()):
        first, last = found.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start < end:
            return start, end
    raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
