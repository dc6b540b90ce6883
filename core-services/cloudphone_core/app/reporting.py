"""What becomes of installations by what the device service reports, and by the clock.

Reports come twice, late and out of order. Only those of an installation's present attempt count, and only what leads
onwards: a report may pass over steps whose own report comes later, and is then nothing new.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.database import Announcement, Database, announce_all
from cloudphone_shared.events.device import (
    AppInstallCompleted,
    AppInstallFailed,
    AppInstallProgressed,
    AppUninstallCompleted,
    AppUninstallFailed,
)

from .failures import sentence
from .installing import PATIENCE_SECONDS, give_up, settle, shown
from .models import InstallationRow
from .states import ORDER, STANDING, TERMINAL, UNDER_WAY, WITHOUT_ITS_VOLUME, check_step

STEP_PERCENT = 10
"""Progress that is less is not worth everybody's looking again."""
_AT_ONCE = 100

Report = AppInstallProgressed | AppInstallCompleted | AppInstallFailed | AppUninstallCompleted | AppUninstallFailed


async def take_report(session: AsyncSession, report: Report, at: datetime) -> None:
    statement = select(InstallationRow).where(InstallationRow.id == report.installation_id).with_for_update()
    row = (await session.scalars(statement)).one_or_none()
    if row is None or row.attempt != report.attempt:
        return
    match report:
        case AppInstallProgressed():
            told = _progressed(row, report, at)
        case AppInstallCompleted():
            told = await _completed(session, row, at)
        case AppInstallFailed() if row.state in UNDER_WAY:
            told = _failed(row, report.code, report.error, at, cancelled=report.cancelled)
        case AppUninstallCompleted() if row.state == "uninstalling":
            settle(row, "uninstalled", at)
            row.progress = 100
            told = [shown(row, "uninstalling")]
        case AppUninstallFailed() if row.state == "uninstalling":
            told = _failed(row, report.code, report.error, at)
        case _:
            told = []
    await announce_all(session, told)


async def sweep(database: Database, at: datetime) -> int:
    """Ends installations whose device has not answered in time; returns how many. Raises Unavailable."""
    swept = 0
    while True:
        async with database.writing() as session:
            overdue = select(InstallationRow).where(InstallationRow.deadline_at <= at)
            overdue = overdue.order_by(InstallationRow.deadline_at).limit(_AT_ONCE).with_for_update(skip_locked=True)
            rows = (await session.scalars(overdue)).all()
            told: list[Announcement] = []
            for row in rows:
                if row.purpose == "install":
                    told.append(give_up(row))
                cancelled = row.cancel_requested_at is not None and row.state in UNDER_WAY
                told += _failed(row, "timed_out", "", at, cancelled=cancelled)
            await announce_all(session, told)
        swept += len(rows)
        if len(rows) < _AT_ONCE:
            return swept


async def end_all(session: AsyncSession, device_id: UUID, lost_at: datetime) -> None:
    """The device lost its volume at `lost_at`, with whatever was asked for before; each ends as the table has it."""
    live = (
        select(InstallationRow)
        .where(
            InstallationRow.device_id == device_id,
            InstallationRow.created_at <= lost_at,
            InstallationRow.state.not_in(TERMINAL),
        )
        .order_by(InstallationRow.id)
        .with_for_update()
    )
    told: list[Announcement] = []
    for row in (await session.scalars(live)).all():
        for state in WITHOUT_ITS_VOLUME[row.state]:
            before = row.state
            check_step(before, state)
            settle(row, state, lost_at)
            told.append(shown(row, before))
        if row.state == "cancelled":
            told.append(give_up(row))
    await announce_all(session, told)


def _progressed(row: InstallationRow, report: AppInstallProgressed, at: datetime) -> list[Announcement]:
    before = row.state
    if before not in UNDER_WAY or report.state not in UNDER_WAY:
        return []
    state: InstallationState = report.state  # pyright: ignore[reportAssignmentType]
    further = ORDER[state] > ORDER[before]
    if not further and (state != before or report.progress < row.progress + STEP_PERCENT):
        return []
    row.progress = max(row.progress, min(report.progress, 99))
    settle(row, state, at)
    row.deadline_at = at + timedelta(seconds=PATIENCE_SECONDS)
    return [shown(row, before)]


async def _completed(session: AsyncSession, row: InstallationRow, at: datetime) -> list[Announcement]:
    if row.state not in UNDER_WAY:
        return []
    told = await _replace(session, row, at)
    before = row.state
    settle(row, "installed", at)
    row.error_code = row.error = None
    return [*told, shown(row, before)]


async def _replace(session: AsyncSession, row: InstallationRow, at: datetime) -> list[Announcement]:
    """The version that stood before is no longer on the phone. It goes first: only one may stand."""
    same = (InstallationRow.device_id == row.device_id, InstallationRow.package_name == row.package_name)
    stood = select(InstallationRow).where(*same, InstallationRow.state.in_(STANDING)).with_for_update()
    told: list[Announcement] = []
    for former in (await session.scalars(stood)).all():
        before = former.state
        settle(former, "uninstalled", at)
        former.replaced_by = row.id
        told.append(shown(former, before))
    await session.flush()
    return told


def _failed(
    row: InstallationRow, code: str, error: str, at: datetime, *, cancelled: bool = False
) -> list[Announcement]:
    before = row.state
    settle(row, "cancelled" if cancelled else "failed", at)
    if not cancelled:
        row.error_code, row.error = code[:100], sentence(code, error)[:1000]
    return [shown(row, before)]
