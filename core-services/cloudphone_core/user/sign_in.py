"""Signing in and out: passwords are checked between the transactions, so no connection waits for them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from cloudphone_shared.contracts.user import Credentials, PasswordChange, Tokens
from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError, InvalidCredentials

from .models import UserRow
from .passwords import Passwords
from .service import change_password, email_key
from .sessions import Opened, begin_session, continue_session, count_attempt, digest, end_sessions, forget_attempts
from .tokens import Issuer


class SignIn:
    """`refresh_days`: how long a session lasts without being used. `clock` in seconds since 1970."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        issuer: Issuer,
        *,
        refresh_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._life = timedelta(days=refresh_days)
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    async def login(self, credentials: Credentials) -> Tokens:
        """Raises InvalidCredentials, AccountSuspended, LimitExceeded."""
        key = email_key(credentials.email)
        user_id, hashed = await self._checked(credentials.password, UserRow.email_key == key, digest(key))
        async with self._database.writing() as session:
            opened = await begin_session(session, user_id, hashed, digest(key), self.now(), self._life)
        if self._passwords.outdated(hashed):
            await self._rehash(user_id, hashed, credentials.password)
        return await self._tokens(opened)

    async def refresh(self, token: str) -> Tokens:
        """Raises Unauthorized, TokenReused, AccountSuspended."""
        async with self._database.writing() as session:
            outcome = await continue_session(session, token, self.now(), self._life)
        if isinstance(outcome, DomainError):
            raise outcome
        return await self._tokens(outcome)

    async def logout(self, user_id: UUID) -> dict[str, int]:
        async with self._database.writing() as session:
            return await end_sessions(session, user_id, "logged out", self.now())

    async def change_password(self, user_id: UUID, change: PasswordChange) -> dict[str, int]:
        """Raises InvalidCredentials, LimitExceeded."""
        attempt = digest(f"password of {user_id}")
        await self._checked(change.current_password, UserRow.id == user_id, attempt)
        hashed = await self._passwords.hash(change.new_password)
        async with self._database.writing() as session:
            await forget_attempts(session, attempt)
            return await change_password(session, user_id, hashed, self.now())

    async def _checked(self, password: str, whose: ColumnElement[bool], attempt: bytes) -> tuple[UUID, str]:
        """The user and the hash that the password matches. Raises InvalidCredentials, LimitExceeded."""
        async with self._database.writing() as session:
            await count_attempt(session, attempt, self.now())
            present = select(UserRow.id, UserRow.password_hash).where(whose, UserRow.deleted_at.is_(None))
            found = (await session.execute(present)).one_or_none()
        if not await self._passwords.matches(password, found.password_hash if found else None):
            raise InvalidCredentials
        assert found
        return found.id, found.password_hash

    async def _rehash(self, user_id: UUID, old: str, password: str) -> None:
        new = await self._passwords.hash(password)
        unchanged = UserRow.id == user_id, UserRow.password_hash == old
        async with self._database.writing() as session:
            await session.execute(update(UserRow).where(*unchanged).values(password_hash=new))

    async def _tokens(self, opened: Opened) -> Tokens:
        return Tokens(
            access_token=await self._issuer.user_token(opened.user, opened.sessions_version),
            refresh_token=opened.refresh_token,
            expires_in=self._issuer.access_seconds,
        )
