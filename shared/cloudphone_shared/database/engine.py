"""A service's connection to its PostgreSQL schema: one session per use case."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from ..errors import Unavailable
from .reads import Row, Statement

CONNECT_SECONDS = 3.0
POOL_WAIT_SECONDS = 3.0
_SCHEMA = re.compile(r"^[a-z_][a-z0-9_]{0,40}$")
_OUTAGES = ("08", "53", "57P", "57014", "40001", "40P01", "55P03")
"""SQLSTATE prefixes that speak of the server's present trouble, not of our statement: the caller may try again."""


class Database:
    """`url` is `postgresql://…` (`sslmode` understood). At most `pool_size` connections for sessions, and half as many
    for `rows`; who finds none waits 3 s.

    Where the database gives no answer, all three raise Unavailable.
    """

    def __init__(
        self, url: str, *, schema: str, service: str, pool_size: int = 10, statement_timeout_ms: int = 15_000
    ) -> None:
        if not _SCHEMA.match(schema):
            raise ValueError(f"{schema!r} cannot be a schema's name")
        self.url = url
        self.schema = schema
        self.service = service
        settings = {
            "application_name": f"cloudphone {service}",
            "statement_timeout": str(statement_timeout_ms),
            "idle_in_transaction_session_timeout": "60000",
            "jit": "off",
        }
        self._engine = create_async_engine(
            sqlalchemy_url(url),
            isolation_level="READ COMMITTED",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_use_lifo=True,
            json_serializer=_json,
            json_deserializer=msgspec.json.decode,
            connect_args={"timeout": CONNECT_SECONDS, "server_settings": settings},
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        info = {"schema": schema, "service": service}
        self._writing = async_sessionmaker(self._engine, expire_on_commit=False, info=info)
        self._reading = async_sessionmaker(snapshot, expire_on_commit=False, info=info)
        self._direct = Direct(
            asyncpg_url(url),
            size=max(1, pool_size // 2),
            timeout=CONNECT_SECONDS,
            server_settings=settings,
        )

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One READ COMMITTED transaction: committed at the end of the block, rolled back by any exception."""
        return self._transaction(self._writing)

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One REPEATABLE READ, READ ONLY transaction: versions and data of one snapshot."""
        return self._transaction(self._reading)

    async def rows(self, statement: Statement, **parameters: object) -> list[Row]:
        """One statement in a snapshot of its own: no transaction, no ORM, a quarter of a session's cost."""
        try:
            return await self._direct.fetch(statement.sql, statement.arguments(parameters))
        except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
            raise Unavailable(self._name, f"{error!r}") from error
        except asyncpg.PostgresError as error:
            if _is_outage(getattr(error, "sqlstate", None)):
                raise Unavailable(self._name, f"{error!r}") from error
            raise

    async def ready(self) -> bool:
        try:
            async with self.reading() as session:
                await session.execute(text("SELECT 1"))
        except Unavailable:
            return False
        return True

    async def close(self) -> None:
        await self._direct.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, sessions: async_sessionmaker[AsyncSession]) -> AsyncGenerator[AsyncSession]:
        try:
            async with sessions() as session, session.begin():
                await self._connect(session)
                yield session
        except DBAPIError as error:
            if error.connection_invalidated or _is_outage(getattr(error.orig, "sqlstate", None)):
                raise Unavailable(self._name, f"{error.orig!r}") from error
            raise

    async def _connect(self, session: AsyncSession) -> None:
        # A refused connection reaches us as it is, so it is told apart here, before the use case's own errors can rise.
        try:
            await session.connection()
        except (OSError, TimeoutError, PoolTimeout, asyncpg.InterfaceError) as error:
            raise Unavailable(self._name, f"{error!r}") from error
        except asyncpg.PostgresError as error:
            if _is_outage(getattr(error, "sqlstate", None)):
                raise Unavailable(self._name, f"{error!r}") from error
            raise

    @property
    def _name(self) -> str:
        return f"{self.service} database"


class Direct:
    """A pool of bare connections, opened as they are needed. What runs on them leaves nothing to be reset."""

    def __init__(self, url: str, *, size: int, timeout: float, server_settings: dict[str, str]) -> None:
        self._open: dict[str, Any] = {
            "dsn": url, "min_size": 0, "max_size": size, "timeout": timeout, "server_settings": server_settings,
            "reset": _nothing_to_reset,
        }  # fmt: skip
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def fetch(self, sql: str, arguments: list[object]) -> list[Row]:
        if self._pool is None:
            async with self._opening:
                self._pool = self._pool or await asyncpg.create_pool(**self._open)  # pyright: ignore
        async with self._pool.acquire(timeout=POOL_WAIT_SECONDS) as connection:
            return await connection.fetch(sql, *arguments)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()


async def _nothing_to_reset(connection: Any) -> None:
    pass


def sqlalchemy_url(url: str) -> str:
    parts = make_url(url).set(drivername="postgresql+asyncpg")
    if "sslmode" in parts.query:
        parts = parts.difference_update_query(["sslmode"]).update_query_dict({"ssl": parts.query["sslmode"]})
    return parts.render_as_string(hide_password=False)


def asyncpg_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _refuse_closed(connection: Any, *_: object) -> None:
    # asyncpg knows when its socket was closed: this check is free, where a ping costs each request a round trip.
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _is_outage(sqlstate: str | None) -> bool:
    return sqlstate is not None and sqlstate.startswith(_OUTAGES)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
