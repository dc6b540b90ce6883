"""What the app service answers and accepts of uploads: an APK on its way into the store, by the tus protocol."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from ..errors import DomainError
from .common import Contract, Name, Request

UploadState = Literal["receiving", "checking", "ready", "refused", "published"]


class UploadedApk(Contract, frozen=True, kw_only=True):
    """What was read from the file. `abis` empty: it runs on any. `signers`: SHA-256 of their certificates."""

    package_name: str
    version_code: int
    version_name: str
    label: str
    min_sdk: int
    target_sdk: int
    abis: list[str]
    permissions: list[str]
    signers: list[str]
    sha256: str
    size: int


class Upload(Contract, frozen=True, kw_only=True):
    """`offset` of `length` bytes have arrived. `code` and `detail` say why it was refused; `apk` is known once it was
    read; `app_version_id` once it was published."""

    id: UUID
    state: UploadState
    filename: str
    length: int
    offset: int
    app_id: UUID | None
    code: str | None
    detail: str | None
    apk: UploadedApk | None
    app_version_id: UUID | None
    created_at: datetime
    expires_at: datetime


class UploadPublish(Request, frozen=True, kw_only=True):
    """Without `app_id`: the app of that package, made where the store has none, by its label unless `name` is given."""

    app_id: UUID | None = None
    name: Name | None = None
    category: Name = "other"
    published: bool = True


class UploadGone(DomainError):
    status = 410
    code = "upload-expired"
    title = "The upload has expired"


class TusVersion(DomainError):
    status = 412
    code = "tus-version"
    title = "The version of the upload protocol is not supported"


class UploadBusy(DomainError):
    """Another request is sending to the same upload."""

    status = 423
    code = "upload-busy"
    title = "The upload is being written by another request"


class WrongChecksum(DomainError):
    """Of one request's body, which has been thrown away."""

    status = 460
    code = "checksum-mismatch"
    title = "The bytes do not match their checksum"


class StorageFull(DomainError):
    """What had arrived before stays."""

    status = 507
    code = "storage-full"
    title = "The store has no room left"
