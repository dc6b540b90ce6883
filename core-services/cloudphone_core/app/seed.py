"""A catalogue and many installations at once, as if they had long been there: nothing is announced, every entity has a
version."""

import asyncio
import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select

from cloudphone_shared import entities
from cloudphone_shared.apk import read_apk, read_icon
from cloudphone_shared.contracts.app import Abi, InstallationState
from cloudphone_shared.database import Database, bump, copy_rows
from cloudphone_shared.ids import uuid7

from . import uploads
from .models import AppRow, AppVersionRow, InstallationRow
from .storage import Storage


class SeedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`size` in bytes, `sha256` in hex."""

    id: UUID
    version_code: int
    version_name: str
    sha256: str
    size: int
    created_at: datetime
    abis: list[Abi] = []
    min_sdk: int = 21


class SeedApp(msgspec.Struct, frozen=True, kw_only=True):
    """`tenant_id` None: in every tenant's store. A package is in a store once."""

    id: UUID
    package_name: str
    name: str
    created_at: datetime
    versions: Sequence[SeedVersion]
    tenant_id: UUID | None = None
    description: str = ""
    category: str = "other"
    published: bool = True


class SeedInstallation(msgspec.Struct, frozen=True, kw_only=True):
    """Of an app once per device, unless it has ended (uninstalled, failed, cancelled)."""

    id: UUID
    tenant_id: UUID
    device_id: UUID
    app_id: UUID
    app_version_id: UUID
    package_name: str
    created_at: datetime
    updated_at: datetime
    state: InstallationState = "installed"
    installed_at: datetime | None = None
    attempt: int = 1


async def seed(database: Database, *, apps: Sequence[SeedApp], installations: Sequence[SeedInstallation]) -> None:
    """In one transaction, into a schema that has none of them yet."""
    rows: list[tuple[type[Any], list[dict[str, Any]]]] = [
        (AppRow, [_app(app) for app in apps]),
        (AppVersionRow, [_version(app.id, version) for app in apps for version in app.versions]),
        (InstallationRow, [msgspec.structs.asdict(installation) for installation in installations]),
    ]
    touched = {entities.app(app.id) for app in apps}
    touched |= {entities.installations(installation.device_id) for installation in installations}
    async with database.writing() as session:
        for table, values in rows:
            await copy_rows(session, table, values)
        await bump(session, *touched)


async def seed_apk(
    database: Database, storage: Storage, content: bytes, *, at: datetime, category: str = "other"
) -> UUID:
    """The id of the version that an APK is, in everybody's store; its app is made where the store has none.

    Done twice it is done once. Raises ApkRefused.
    """
    apk = await asyncio.to_thread(read_apk, io.BytesIO(content))
    icon = await asyncio.to_thread(read_icon, io.BytesIO(content))
    key = uuid7()
    await storage.put(uploads.apk_key(key), content)
    if icon:
        await storage.put(uploads.icon_key(key), icon)
    async with database.writing() as session:
        same = select(AppRow).where(AppRow.package_name == apk.package, AppRow.tenant_id.is_(None))
        app = (await session.scalars(same.where(AppRow.deleted_at.is_(None)))).one_or_none()
        if app is None:
            app = AppRow(
                id=uuid7(),
                tenant_id=None,
                package_name=apk.package,
                name=apk.label[:120] or apk.package,
                description="",
                category=category,
                published=True,
                created_at=at,
                updated_at=at,
            )
            session.add(app)
            await session.flush()
        known = select(AppVersionRow).where(
            AppVersionRow.app_id == app.id, AppVersionRow.version_code == apk.version_code
        )
        version = (await session.scalars(known)).one_or_none()
        if version is None:
            version = AppVersionRow(
                id=uuid7(),
                app_id=app.id,
                version_code=apk.version_code,
                version_name=apk.version_name or str(apk.version_code),
                sha256=hashlib.sha256(content).hexdigest(),
                abis=list(apk.abis),
                min_sdk=apk.min_sdk,
                size=len(content),
                label=apk.label,
                signers=list(apk.signers),
                permissions=list(apk.permissions),
                object_key=uploads.apk_key(key),
                created_at=at,
            )
            session.add(version)
            app.icon_key = uploads.icon_key(key) if icon else app.icon_key
        await session.flush()
        await bump(session, entities.app(app.id))
        return version.id


def _app(app: SeedApp) -> dict[str, Any]:
    values = msgspec.structs.asdict(app)
    values.pop("versions")
    return {**values, "updated_at": app.created_at}


def _version(app_id: UUID, version: SeedVersion) -> dict[str, Any]:
    return {**msgspec.structs.asdict(version), "app_id": app_id}
