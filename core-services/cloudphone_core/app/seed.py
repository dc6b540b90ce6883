"""A catalogue and many installations at once, as if they had long been there: nothing is announced, every entity has a
version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.app import Abi, InstallationState
from cloudphone_shared.database import Database, bump, copy_rows

from .models import AppRow, AppVersionRow, InstallationRow


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


def _app(app: SeedApp) -> dict[str, Any]:
    values = msgspec.structs.asdict(app)
    values.pop("versions")
    return {**values, "updated_at": app.created_at}


def _version(app_id: UUID, version: SeedVersion) -> dict[str, Any]:
    return {**msgspec.structs.asdict(version), "app_id": app_id}
