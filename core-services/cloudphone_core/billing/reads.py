"""What composed screens ask of billing: for one or for a hundred at once, each read one statement."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

import sqlalchemy as sa

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import DeviceUsage, UserUsage
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, many, version_of

from .models import Base, Moment, UsageRow
from .periods import Interval, month_of
from .usage import usage_columns

_USAGE = "seconds", "runs", "open_since", "last_run_at"
_MONTH = Interval(
    sa.bindparam("month_start", type_=Moment),  # pyright: ignore[reportArgumentType]
    sa.bindparam("month_end", type_=Moment),  # pyright: ignore[reportArgumentType]
)
_OF_USER = sa.bindparam("of_user", type_=sa.Uuid())


@cache
def _usage_of_devices() -> Statement:
    # What ran for nobody is nobody's usage.
    whose = sa.and_(
        UsageRow.device_id == asked.c.id,
        UsageRow.user_id.is_not(None),
        sa.or_(_OF_USER.is_(None), UsageRow.user_id == _OF_USER),
    )
    used = sa.select(*usage_columns(_MONTH)).where(whose).lateral("used")
    version = version_of(Base.metadata, entities.usage, asked.c.id).label("version")
    return Statement(
        sa.select(asked.c.id.label("asked"), version, *used.c).select_from(asked).outerjoin(used, sa.true())
    )


@cache
def _usage_of_users() -> Statement:
    used = (
        sa.select(UsageRow.device_id, *usage_columns(_MONTH))
        .where(UsageRow.user_id == asked.c.id)
        .group_by(UsageRow.device_id)
        .lateral("used")
    )
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.usage_of, asked.c.id).label("list_version"),
            version_of(Base.metadata, entities.usage, used.c.device_id).label("version"),
            *used.c,
        )
        .select_from(asked)
        .outerjoin(used, sa.true())
    )


async def device_usage(
    database: Database, device_id: UUID, now: datetime, *, user_id: UUID | None = None
) -> Answer[DeviceUsage]:
    """Of the user's runs alone where one is named: what a device did for its earlier holders is not the next one's."""
    return (await _used(database, [device_id], now, user_id))[device_id]


async def usage_of_devices(database: Database, device_ids: Sequence[UUID], now: datetime) -> Answer[Many[DeviceUsage]]:
    return many(await _used(database, device_ids, now, None), {})


async def user_usage(database: Database, user_id: UUID, now: datetime) -> Answer[UserUsage]:
    return (await _used_by(database, [user_id], now))[user_id]


async def usage_of_users(database: Database, user_ids: Sequence[UUID], now: datetime) -> Answer[Many[UserUsage]]:
    return many(await _used_by(database, user_ids, now), {})


async def _used(
    database: Database, device_ids: Sequence[UUID], now: datetime, user_id: UUID | None
) -> dict[UUID, Answer[DeviceUsage]]:
    month = month_of(now)
    rows = await database.rows(
        _usage_of_devices(), ids=device_ids, of_user=user_id, month_start=month.start, month_end=month.end
    )
    return {
        row["asked"]: Answer(
            data=_usage(row["asked"], row, month), entities={entities.usage(row["asked"]): row["version"]}
        )
        for row in rows
    }


async def _used_by(database: Database, user_ids: Sequence[UUID], now: datetime) -> dict[UUID, Answer[UserUsage]]:
    month = month_of(now)
    devices: dict[UUID, list[DeviceUsage]] = {}
    shown: dict[UUID, dict[str, int]] = {}
    for row in await database.rows(_usage_of_users(), ids=user_ids, month_start=month.start, month_end=month.end):
        user_id: UUID = row["asked"]
        versions = shown.setdefault(user_id, {entities.usage_of(user_id): row["list_version"]})
        if row["device_id"] is not None:
            # A device without a run in the period counts too: its next record changes the answer and no collection.
            versions[entities.usage(row["device_id"])] = row["version"]
            if row["runs"]:
                devices.setdefault(user_id, []).append(_usage(row["device_id"], row, month))
    return {
        user_id: Answer(data=_total(user_id, devices.get(user_id, []), month), entities=versions)
        for user_id, versions in shown.items()
    }


def _total(user_id: UUID, devices: list[DeviceUsage], month: Interval) -> UserUsage:
    return UserUsage(
        user_id=user_id,
        period_start=month.start,
        period_end=month.end,
        seconds=sum(device.seconds for device in devices),
        devices=sorted(devices, key=lambda device: (-device.seconds, device.device_id)),
    )


def _usage(device_id: UUID, row: Row, month: Interval) -> DeviceUsage:
    return DeviceUsage(
        device_id=device_id,
        period_start=month.start,
        period_end=month.end,
        **{name: row[name] for name in _USAGE},
    )
