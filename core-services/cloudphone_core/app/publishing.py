"""From a checked upload to a version in the store, and what customers get to see of apps and versions."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import Abi, AppCreate
from cloudphone_shared.contracts.upload import UploadedApk, UploadPublish
from cloudphone_shared.errors import Conflict, NotFound, StateConflict
from cloudphone_shared.ids import uuid7

from . import service, uploads
from .checking import refused_by_store
from .models import AppRow, AppVersionRow, UploadRow
from .scope import managed_by, seen_by

_KNOWN_ABIS = frozenset(Abi.__args__)


async def publish_upload(
    session: AsyncSession, caller: Caller, upload_id: UUID, wanted: UploadPublish, at: datetime
) -> AppVersionRow:
    """Raises StateConflict unless it was checked and found good, Conflict when the app has moved on meanwhile."""
    upload = await uploads.find(session, caller, upload_id, lock=True)
    if upload.app_version_id is not None:
        published = await session.get(AppVersionRow, upload.app_version_id)
        if published is not None:
            return published
    if upload.state != "ready" or upload.expires_at <= at:
        reason = upload.detail or "It has not been checked yet, or has expired"
        raise StateConflict(reason, current_state=upload.state, allowed=[])
    apk = msgspec.convert(upload.apk, UploadedApk)
    app = await _app_for(session, caller, upload, apk, wanted, at)
    if refusal := await refused_by_store(session, apk, app.tenant_id, app.id):
        raise Conflict(refusal.detail, reason=refusal.code)
    version = _version(upload, apk, app.id, published=wanted.published, at=at)
    session.add(version)
    upload.state, upload.app_version_id = "published", version.id
    app.updated_at = at
    if upload.icon_key:
        app.icon_key = upload.icon_key
    await service.announce_app(session, app, "versions")
    return version


async def show_app(session: AsyncSession, caller: Caller, app_id: UUID, at: datetime, *, published: bool) -> None:
    """Puts it before customers, or takes it from them; what is installed stays."""
    app = await service.app_to_change(session, caller, app_id, None)
    if app.published != published:
        app.published, app.updated_at = published, at
        await service.announce_app(session, app, "published")


async def show_version(
    session: AsyncSession, caller: Caller, version_id: UUID, at: datetime, *, published: bool
) -> AppVersionRow:
    version = await session.get(AppVersionRow, version_id)
    if version is None:
        raise NotFound
    app = await service.app_to_change(session, caller, version.app_id, None)
    if version.published != published:
        version.published, app.updated_at = published, at
        await service.announce_app(session, app, "versions")
    return version


async def _app_for(
    session: AsyncSession, caller: Caller, upload: UploadRow, apk: UploadedApk, wanted: UploadPublish, at: datetime
) -> AppRow:
    """Locked. The one that is named, or the store's of that package, or a new one."""
    app_id = wanted.app_id or upload.app_id
    if app_id is None:
        of_store = AppRow.tenant_id.is_(None) if upload.tenant_id is None else AppRow.tenant_id == upload.tenant_id
        same = select(AppRow.id).where(AppRow.package_name == apk.package_name, of_store, seen_by(caller))
        app_id = await session.scalar(same.where(managed_by(caller)))
    if app_id is None:
        new = AppCreate(
            package_name=apk.package_name,
            name=(wanted.name or apk.label.strip() or apk.package_name)[:120],
            category=wanted.category,
            published=wanted.published,
        )
        app_id = await service.create_app(session, caller, new, at)
    return await service.app_to_change(session, caller, app_id, None)


def _version(upload: UploadRow, apk: UploadedApk, app_id: UUID, *, published: bool, at: datetime) -> AppVersionRow:
    return AppVersionRow(
        id=uuid7(),
        app_id=app_id,
        version_code=apk.version_code,
        version_name=apk.version_name[:80] or str(apk.version_code),
        sha256=apk.sha256,
        abis=[abi for abi in apk.abis if abi in _KNOWN_ABIS],
        min_sdk=apk.min_sdk,
        size=apk.size,
        label=apk.label,
        signers=apk.signers,
        permissions=apk.permissions,
        object_key=uploads.apk_key(upload.id),
        published=published,
        created_at=at,
    )
