"""What composed screens ask of installations: one or a hundred devices at once, in one statement."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

import sqlalchemy as sa

from cloudphone_shared import entities
from cloudphone_shared.contracts.app import Installation
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, columns, many, version_of

from .models import AppRow, AppVersionRow, Base, InstallationRow
from .queries import MOST_INSTALLATIONS
from .states import HIDDEN

_FIELDS = tuple(name for name in Installation.__struct_fields__ if name not in ("app_name", "version_name"))


@cache
def _installations() -> Statement:
    listed = (
        sa.select(
            *columns(InstallationRow, _FIELDS),
            AppRow.name.label("app_name"),
            AppVersionRow.version_name.label("version_name"),
        )
        .join(AppRow, AppRow.id == InstallationRow.app_id)
        .join(AppVersionRow, AppVersionRow.id == InstallationRow.app_version_id)
        .where(InstallationRow.device_id == asked.c.id, InstallationRow.state.not_in(_literals(HIDDEN)))
        .order_by(AppRow.name, InstallationRow.id)
        .limit(sa.literal_column(str(MOST_INSTALLATIONS)))
        .lateral("listed")
    )
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.installations, asked.c.id).label("list_version"),
            version_of(Base.metadata, entities.app, listed.c.app_id).label("app_version"),
            *listed.c,
        )
        .select_from(asked)
        .outerjoin(listed, sa.true())
        .order_by(asked.c.id, listed.c.app_name, listed.c.id)
    )


@cache
def _counts() -> Statement:
    counted = (
        sa.select(sa.func.count())
        .where(InstallationRow.device_id == asked.c.id, InstallationRow.state == sa.literal_column("'installed'"))
        .scalar_subquery()
    )
    version = version_of(Base.metadata, entities.installations, asked.c.id)
    return Statement(
        sa.select(asked.c.id.label("asked"), counted.label("count"), version.label("version")).select_from(asked)
    )


async def installations(database: Database, device_id: UUID) -> Answer[list[Installation]]:
    """By app name; at most 500."""
    return (await _lists(database, [device_id]))[device_id]


async def installations_of_many(database: Database, device_ids: Sequence[UUID]) -> Answer[Many[list[Installation]]]:
    return many(await _lists(database, device_ids), {})


async def installation_counts(database: Database, device_ids: Sequence[UUID]) -> Answer[Many[int]]:
    rows = await database.rows(_counts(), ids=device_ids)
    shown = {row["asked"]: {entities.installations(row["asked"]): row["version"]} for row in rows}
    return many({row["asked"]: Answer(data=row["count"], entities=shown[row["asked"]]) for row in rows}, {})


async def _lists(database: Database, device_ids: Sequence[UUID]) -> dict[UUID, Answer[list[Installation]]]:
    found: dict[UUID, Answer[list[Installation]]] = {}
    for row in await database.rows(_installations(), ids=device_ids):
        device_id: UUID = row["asked"]
        if (answer := found.get(device_id)) is None:
            shown = {entities.installations(device_id): row["list_version"]}
            answer = found[device_id] = Answer(data=[], entities=shown)
        if row["id"] is not None:
            answer.data.append(_installation(row))
            answer.entities[entities.app(row["app_id"])] = row["app_version"]
    return found


def _installation(row: Row) -> Installation:
    return Installation(
        **{name: row[name] for name in _FIELDS}, app_name=row["app_name"], version_name=row["version_name"]
    )


def _literals(words: frozenset[str]) -> list[sa.ColumnElement[str]]:
    return [sa.literal_column(f"'{word}'") for word in sorted(words)]
