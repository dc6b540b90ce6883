"""Uploads as rows: who may write one, what has arrived, and what becomes of it. Each function is one use case or query,
in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.upload import Upload, UploadBusy, UploadedApk, UploadGone
from cloudphone_shared.errors import BodyTooLarge, Conflict, LimitExceeded, NotFound, StateConflict
from cloudphone_shared.ids import uuid7

from .models import UploadPartRow, UploadRow
from .scope import tenant_of

PART_BYTES = 4 << 20
"""What is kept of an upload in memory at once, and of an interrupted one lost at most when a process is killed."""
MOST_PARTS = 50_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender said of the file. `length` in bytes; `sha256` None: whatever arrives."""

    length: int
    filename: str = ""
    app_id: UUID | None = None
    sha256: str | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The right to write an upload from `offset` on, as long as it is renewed."""

    upload_id: UUID
    token: UUID
    offset: int
    length: int


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, times in seconds. A turn that is not renewed for `turn_seconds` is another's to take."""

    largest: int
    life_seconds: float
    most_open: int
    abis: tuple[str, ...]
    turn_seconds: float = 20.0


async def create(session: AsyncSession, caller: Caller, wanted: Wanted, rules: Rules, at: datetime) -> UUID:
    """Raises BodyTooLarge, LimitExceeded for a caller with too many uploads on their way."""
    if wanted.length > rules.largest:
        raise BodyTooLarge(f"An upload may have {rules.largest} bytes at most", largest=rules.largest)
    waiting = select(func.count()).select_from(UploadRow)
    waiting = waiting.where(UploadRow.created_by == caller.id, UploadRow.state.in_(("receiving", "checking")))
    if (await session.scalar(waiting) or 0) >= rules.most_open:
        raise LimitExceeded(f"{rules.most_open} uploads are on their way: end or delete one first")
    row = UploadRow(
        id=uuid7(),
        tenant_id=None if caller.data_scope == "all" else tenant_of(caller),
        created_by=caller.id,
        app_id=wanted.app_id,
        filename=wanted.filename,
        length=wanted.length,
        received=0,
        wanted_sha256=wanted.sha256,
        state="receiving",
        created_at=at,
        expires_at=at + timedelta(seconds=rules.life_seconds),
    )
    session.add(row)
    return row.id


async def find(session: AsyncSession, caller: Caller, upload_id: UUID, *, lock: bool = False) -> UploadRow:
    """One's own, or one's tenant's. Raises NotFound."""
    row = await session.get(UploadRow, upload_id, with_for_update=lock, populate_existing=True)
    if row is None or not (caller.id == row.created_by or caller.sees(row.tenant_id, None)):
        raise NotFound
    return row


def shown(row: UploadRow) -> Upload:
    return Upload(
        id=row.id,
        state=row.state,
        filename=row.filename,
        length=row.length,
        offset=row.received,
        app_id=row.app_id,
        code=row.code,
        detail=row.detail,
        apk=msgspec.convert(row.apk, UploadedApk) if row.apk else None,
        app_version_id=row.app_version_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


async def take_turn(
    session: AsyncSession, caller: Caller, upload_id: UUID, offset: int, rules: Rules, at: datetime
) -> Turn:
    """Raises NotFound, UploadGone, StateConflict when all has arrived, UploadBusy, Conflict for another offset."""
    row = await find(session, caller, upload_id, lock=True)
    if row.expires_at <= at:
        raise UploadGone
    if row.state != "receiving":
        raise StateConflict("The whole file has arrived already", current_state=row.state, allowed=[])
    if row.locked_until is not None and row.locked_until > at:
        raise UploadBusy(headers={"Retry-After": "1"})
    if row.received != offset:
        raise Conflict(
            f"The upload stands at {row.received}, not at {offset}",
            headers={"Upload-Offset": str(row.received)},
            offset=row.received,
        )
    token = row.lock_token = uuid7()
    row.locked_until = at + timedelta(seconds=rules.turn_seconds)
    row.expires_at = at + timedelta(seconds=rules.life_seconds)
    return Turn(upload_id=row.id, token=token, offset=offset, length=row.length)


async def renew_turn(session: AsyncSession, upload_id: UUID, token: UUID, seconds: float, at: datetime) -> None:
    """Raises UploadBusy when the turn has become another's."""
    renewed = (
        update(UploadRow)
        .where(UploadRow.id == upload_id, UploadRow.lock_token == token)
        .values(locked_until=at + timedelta(seconds=seconds))
        .returning(UploadRow.id)
    )
    if await session.scalar(renewed) is None:
        raise UploadBusy


async def end_turn(session: AsyncSession, upload_id: UUID, token: UUID) -> None:
    ours = (UploadRow.id == upload_id, UploadRow.lock_token == token)
    await session.execute(update(UploadRow).where(*ours).values(lock_token=None, locked_until=None))


async def keep(
    session: AsyncSession, turn: Turn, parts: Sequence[tuple[int, int]], seconds: float, at: datetime
) -> None:
    """The parts (offset, size), written next to each other, count from now on; with the last byte the file is to be
    checked. Raises UploadBusy when the turn has become another's."""
    first, end = parts[0][0], parts[-1][0] + parts[-1][1]
    moved = (
        update(UploadRow)
        .where(UploadRow.id == turn.upload_id, UploadRow.lock_token == turn.token, UploadRow.received == first)
        .values(received=end, locked_until=at + timedelta(seconds=seconds))
        .returning(UploadRow.length)
    )
    length = await session.scalar(moved)
    if length is None:
        raise UploadBusy
    count = select(func.count()).select_from(UploadPartRow).where(UploadPartRow.upload_id == turn.upload_id)
    if (await session.scalar(count) or 0) + len(parts) > MOST_PARTS:
        raise Conflict("The upload came in too small pieces; begin again, with larger ones")
    session.add_all([UploadPartRow(upload_id=turn.upload_id, at=start, size=size) for start, size in parts])
    if end == length:
        whole = update(UploadRow).where(UploadRow.id == turn.upload_id)
        await session.execute(whole.values(state="checking", lock_token=None, locked_until=None))


async def parts_of(session: AsyncSession, upload_id: UUID) -> list[str]:
    """The keys of what was kept, in the file's order."""
    places = select(UploadPartRow.at).where(UploadPartRow.upload_id == upload_id).order_by(UploadPartRow.at)
    return [part_key(upload_id, at) for at in (await session.scalars(places)).all()]


async def claim_check(session: AsyncSession, upload_id: UUID, seconds: float, at: datetime) -> UploadRow | None:
    """The upload, for who checks it now; None when another does, or nobody has to."""
    statement = select(UploadRow).where(
        UploadRow.id == upload_id,
        UploadRow.state == "checking",
        or_(UploadRow.locked_until.is_(None), UploadRow.locked_until <= at),
    )
    row = (await session.scalars(statement.with_for_update(skip_locked=True))).one_or_none()
    if row is not None:
        row.lock_token, row.locked_until = uuid7(), at + timedelta(seconds=seconds)
    return row


async def to_check(session: AsyncSession, at: datetime, most: int = 10) -> list[UUID]:
    """Those whose checker is gone, or that never had one."""
    waiting = select(UploadRow.id).where(
        UploadRow.state == "checking", or_(UploadRow.locked_until.is_(None), UploadRow.locked_until <= at)
    )
    return list((await session.scalars(waiting.order_by(UploadRow.id).limit(most))).all())


async def claim_expired(session: AsyncSession, at: datetime, most: int = 20) -> list[tuple[UUID, list[str]]]:
    """Uploads nobody waits for any longer, with the keys of all they left; their rows go with `forget`.

    The file of one that was published stays.
    """
    old = (
        select(UploadRow)
        .where(UploadRow.expires_at <= at, or_(UploadRow.locked_until.is_(None), UploadRow.locked_until <= at))
        .order_by(UploadRow.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    found: list[tuple[UUID, list[str]]] = []
    for row in (await session.scalars(old)).all():
        row.locked_until, row.lock_token = at + timedelta(minutes=1), uuid7()
        found.append((row.id, await leftovers(session, row)))
    return found


async def leftovers(session: AsyncSession, row: UploadRow) -> list[str]:
    keys = await parts_of(session, row.id)
    if row.state == "receiving":
        keys.append(part_key(row.id, row.received))
    if row.state != "published":
        keys += [apk_key(row.id), icon_key(row.id)]
    return keys


async def forget(session: AsyncSession, upload_ids: Sequence[UUID]) -> None:
    await session.execute(delete(UploadRow).where(UploadRow.id.in_(upload_ids)))


def part_key(upload_id: UUID, at: int) -> str:
    return f"uploads/{upload_id}/{at:013d}"


def apk_key(upload_id: UUID) -> str:
    return f"apks/{upload_id}.apk"


def icon_key(upload_id: UUID) -> str:
    return f"icons/{upload_id}"
