"""An APK on its way into the store, by the tus protocol (1.0, resumable): passed on to the app service as it comes."""

from collections.abc import AsyncIterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, head, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.upload import UploadGone
from cloudphone_shared.http.operations import octets_in
from cloudphone_shared.http.problems import problems

from ..staff import staff

VERSION = "1.0.0"
_TAGS = ["uploads"]
_PASSED = ("tus-resumable", "upload-length", "upload-metadata", "upload-offset", "upload-checksum", "content-type")
_ANSWERED = ("tus-resumable", "upload-offset", "upload-expires", "upload-state")

TusVersion = Annotated[str, HeaderParameter(name="Tus-Resumable", pattern=r"^[0-9.]{1,20}$", description="`1.0.0`")]
Length = Annotated[str, HeaderParameter(name="Upload-Length", pattern=r"^[0-9]{1,18}$", description="In bytes")]
Offset = Annotated[
    str, HeaderParameter(name="Upload-Offset", pattern=r"^[0-9]{1,18}$", description="Bytes that have arrived")
]
Metadata = Annotated[
    str | None,
    HeaderParameter(
        name="Upload-Metadata",
        pattern=r"^[\x20-\x7e]{0,4096}$",
        description="`filename`, `appId` and `sha256` (in hex), each with its value in base64, with commas between",
    ),
]
Checksum = Annotated[
    str | None,
    HeaderParameter(
        name="Upload-Checksum",
        pattern=r"^[\x21-\x7e]+ [\x21-\x7e]{1,200}$",
        description="`sha256` and this body's digest in base64",
    ),
]


@post(
    "/admin/uploads",
    tags=_TAGS,
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 412, 413, 507),
)
async def create_upload(
    request: Request[Any, Any, Any],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    tus_resumable: TusVersion,
    upload_length: Length,
    upload_metadata: Metadata = None,
) -> Response[None]:
    """Begins an upload of up to 4 GiB; `Location` says where its bytes go."""
    return await _passed_on(request, core, caller, None)


@head(
    "/admin/uploads/{upload_id:uuid}",
    tags=_TAGS,
    guards=[staff("apps:manage")],
    responses=problems(404, 410),
)
async def look_up_upload(
    upload_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[None]:
    """How much of an upload has arrived, in `Upload-Offset`."""
    upload = await core.app.upload(upload_id, bearer=passing_on(caller))
    if upload.expires_at <= datetime.now(UTC):
        raise UploadGone
    headers = {
        "Tus-Resumable": VERSION,
        "Upload-Length": str(upload.length),
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_datetime(upload.expires_at.astimezone(UTC), usegmt=True),
        "Upload-State": upload.state,
    }
    return Response(None, headers=headers)


@patch(
    "/admin/uploads/{upload_id:uuid}",
    status_code=204,
    tags=_TAGS,
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 410, 412, 413, 415, 423, 460, 507),
    request_max_body_size=None,
    operation_class=octets_in("application/offset+octet-stream"),
)
async def send_upload(
    request: Request[Any, Any, Any],
    upload_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    tus_resumable: TusVersion,
    upload_offset: Offset,
    upload_checksum: Checksum = None,
) -> Response[None]:
    """Sends bytes of an upload, from its offset on. What arrived before a connection broke need not be sent again."""
    return await _passed_on(request, core, caller, upload_id, request.stream())


@delete(
    "/admin/uploads/{upload_id:uuid}",
    status_code=204,
    tags=_TAGS,
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 412),
)
async def delete_upload(
    request: Request[Any, Any, Any],
    upload_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    tus_resumable: TusVersion,
) -> Response[None]:
    """Throws an upload away, whole or not, that was not published."""
    return await _passed_on(request, core, caller, upload_id)


async def _passed_on(
    request: Request[Any, Any, Any],
    core: CoreClients,
    caller: Caller,
    upload_id: UUID | None,
    body: AsyncIterable[bytes] | None = None,
) -> Response[None]:
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    if body is None:
        headers.pop("content-type", None)
    elif (length := request.content_length) is not None:
        headers["Content-Length"] = str(length)
    async with core.app.tus(request.method, upload_id, headers, passing_on(caller), body) as flow:
        answered = {name: flow.headers[name] for name in _ANSWERED if name in flow.headers}
        if place := flow.headers.get("location"):
            answered["Location"] = place.replace("/v1/", "/admin/", 1)
        return Response(None, status_code=flow.status, headers=answered)


UPLOADING = [create_upload, look_up_upload, send_upload, delete_upload]
