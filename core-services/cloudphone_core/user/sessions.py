"""Sign-ins: sessions and their refresh tokens, and failed attempts. Use cases in the caller's transaction."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, CursorResult, Integer, case, delete, func, literal, or_, select, update
from sqlalchemy import cast as cast_as
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import (
    AccountSuspended,
    DomainError,
    InvalidCredentials,
    LimitExceeded,
    TokenReused,
    Unauthorized,
)
from cloudphone_shared.events.user import SessionsRevoked, UserUpdated
from cloudphone_shared.ids import uuid7

from .models import RefreshTokenRow, SessionRow, SignInFailuresRow, UserRow

GRACE = timedelta(seconds=10)
"""How long the token just replaced is still good: its answer may have been lost, or two tabs refreshed at once."""
ACTIVITY_STEP = timedelta(minutes=5)
"""`last_active_at` is shown, so each step is announced and makes the user's views be composed again: not too often."""

FREE_ATTEMPTS = 10
ATTEMPTS_PER_LOCK = 5
LONGEST_LOCK = timedelta(minutes=15)
_FAILURES_FORGOTTEN = timedelta(days=1)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A session that goes on: what the two tokens are made of."""

    user: UserRow
    refresh_token: str
    sessions_version: int


async def count_attempt(session: AsyncSession, address: bytes, at: datetime) -> None:
    """Counts a sign-in as failed until it succeeds, so that attempts made together are all counted.

    After ten in a row, and each five more, the address is locked: for a minute, then two, and so on up to fifteen;
    attempts during a lock neither count nor prolong it. The price: who keeps trying can keep somebody from signing in
    by password for up to fifteen minutes at a time. Open sessions go on. Unknown addresses are treated alike.
    Raises LimitExceeded.
    """
    row = SignInFailuresRow
    stale = row.failed_at < at - _FAILURES_FORGOTTEN
    failures = case((stale, 1), else_=row.failures + 1)
    statement = (
        insert(row)
        .values(address=address, failures=1, failed_at=at)
        .on_conflict_do_update(
            index_elements=[row.address],
            set_={"failures": failures, "failed_at": at, "locked_until": _lock(failures, at)},
            where=or_(row.locked_until.is_(None), row.locked_until <= at),
        )
    )
    counted = cast("CursorResult[object]", await session.execute(statement))
    if counted.rowcount:
        return
    until = await session.scalar(select(row.locked_until).where(row.address == address))
    seconds = max(1, round((until - at).total_seconds())) if until else 1
    raise LimitExceeded(
        f"Too many sign-ins failed: try again in {seconds} s",
        retryAfterSeconds=seconds,
        headers={"Retry-After": str(seconds)},
    )


async def forget_attempts(session: AsyncSession, address: bytes) -> None:
    await session.execute(delete(SignInFailuresRow).where(SignInFailuresRow.address == address))


async def begin_session(
    session: AsyncSession, user_id: UUID, password_hash: str, address: bytes, at: datetime, life: timedelta
) -> Opened:
    """`password_hash` is the one that the password was checked against.

    Raises InvalidCredentials when it has changed meanwhile, AccountSuspended.
    """
    user = await lock_user(session, user_id)
    if user is None or user.password_hash != password_hash:
        raise InvalidCredentials
    _check_active(user)
    await forget_attempts(session, address)
    opened = SessionRow(id=uuid7(), user_id=user_id, generation=0, created_at=at, expires_at=at + life)
    session.add(opened)
    await session.flush()
    return await _go_on(session, opened, user, at, life)


async def continue_session(session: AsyncSession, token: str, at: datetime, life: timedelta) -> Opened | DomainError:
    """Rotates a refresh token. A refusal is returned, not raised: reuse revokes the session, which must be committed.

    Unauthorized for an unknown or expired token or a closed session, TokenReused, AccountSuspended.
    """
    found = await _session_of(session, token)
    if found is None:
        return Unauthorized("The refresh token is not one of ours")
    presented, opened, user = found
    if opened.revoked_at is not None or user is None:
        return Unauthorized("The session was closed")
    if presented.expires_at <= at:
        return Unauthorized("The refresh token has expired")
    if presented.replaced_at is not None and not _in_grace(presented, opened, at):
        await _close(session, opened, "refresh token reused", at)
        return TokenReused()
    if user.status != "active":
        return AccountSuspended()
    if presented.replaced_at is None:
        presented.replaced_at = at
    return await _go_on(session, opened, user, at, life, same_generation=presented.generation < opened.generation)


async def end_sessions(session: AsyncSession, user_id: UUID, reason: str, at: datetime) -> dict[str, int]:
    """Voids every refresh token of the user now, and every access token as soon as it is heard of."""
    await revoke_sessions(session, user_id, reason, at)
    return await announce(session, SessionsRevoked(user_id=user_id, reason=reason), entities.sessions(user_id))


async def revoke_sessions(session: AsyncSession, user_id: UUID, reason: str, at: datetime) -> None:
    alive = SessionRow.user_id == user_id, SessionRow.revoked_at.is_(None)
    await session.execute(update(SessionRow).where(*alive).values(revoked_at=at, revoked_because=reason))


async def forget_old(session: AsyncSession, at: datetime) -> None:
    """Removes what has expired: sessions with their tokens, replaced tokens, failures of yesterday."""
    await session.execute(delete(SessionRow).where(SessionRow.expires_at < at))
    await session.execute(delete(RefreshTokenRow).where(RefreshTokenRow.expires_at < at))
    await session.execute(delete(SignInFailuresRow).where(SignInFailuresRow.failed_at < at - _FAILURES_FORGOTTEN))


async def lock_user(session: AsyncSession, user_id: UUID) -> UserRow | None:
    """The row under its lock, as it is now; None when there is none or it is deleted."""
    statement = select(UserRow).where(UserRow.id == user_id, UserRow.deleted_at.is_(None)).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def _session_of(session: AsyncSession, token: str) -> tuple[RefreshTokenRow, SessionRow, UserRow | None] | None:
    """All under the user's lock, so that two refreshes and a suspension take turns."""
    owner = (
        select(SessionRow.user_id)
        .join(RefreshTokenRow, RefreshTokenRow.session_id == SessionRow.id)
        .where(RefreshTokenRow.sha256 == digest(token))
    )
    user_id = await session.scalar(owner)
    if user_id is None:
        return None
    user = await lock_user(session, user_id)
    presented = await session.get_one(RefreshTokenRow, digest(token))
    return presented, await session.get_one(SessionRow, presented.session_id), user


def _in_grace(presented: RefreshTokenRow, opened: SessionRow, at: datetime) -> bool:
    previous = presented.generation == opened.generation - 1
    return previous and presented.replaced_at is not None and at - presented.replaced_at <= GRACE


async def _go_on(
    session: AsyncSession,
    opened: SessionRow,
    user: UserRow,
    at: datetime,
    life: timedelta,
    *,
    same_generation: bool = False,
) -> Opened:
    token = secrets.token_urlsafe(32)
    opened.generation += 0 if same_generation else 1
    opened.expires_at = at + life
    session.add(
        RefreshTokenRow(
            sha256=digest(token), session_id=opened.id, generation=opened.generation, expires_at=opened.expires_at
        )
    )
    await _note_activity(session, user, at)
    await session.flush()
    entity = entities.sessions(user.id)
    return Opened(user=user, refresh_token=token, sessions_version=(await versions_of(session, entity))[entity])


async def _note_activity(session: AsyncSession, user: UserRow, at: datetime) -> None:
    if user.last_active_at is not None and at - user.last_active_at < ACTIVITY_STEP:
        return
    user.last_active_at = at
    event = UserUpdated(
        user_id=user.id,
        tenant_id=user.tenant_id,
        name=user.name,
        email=user.email,
        status=user.status,
        changed=["lastActiveAt"],
    )
    await announce(session, event, entities.user(user.id))


async def _close(session: AsyncSession, opened: SessionRow, reason: str, at: datetime) -> None:
    opened.revoked_at, opened.revoked_because = at, reason
    await announce(session, SessionsRevoked(user_id=opened.user_id, reason=reason), entities.sessions(opened.user_id))


def _check_active(user: UserRow) -> None:
    if user.status != "active":
        raise AccountSuspended


def _lock(failures: ColumnElement[int], at: datetime) -> ColumnElement[datetime | None]:
    """The end of the lock that the n-th failure brings, if it brings one."""
    locks = (failures - FREE_ATTEMPTS) / ATTEMPTS_PER_LOCK
    minutes = func.least(LONGEST_LOCK.total_seconds() / 60, func.power(2, func.least(locks, 10)))
    due = (failures >= FREE_ATTEMPTS) & ((failures - FREE_ATTEMPTS) % ATTEMPTS_PER_LOCK == 0)
    end = literal(at) + func.make_interval(0, 0, 0, 0, 0, cast_as(minutes, Integer))
    return case((due, end), else_=None)
