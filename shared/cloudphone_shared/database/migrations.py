"""Alembic without ceremony: one history per service, in its own package, its version table in its own schema.

A revision's tables land in the service's schema unless they name another.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ..errors import Unavailable
from .engine import CONNECT_SECONDS, sqlalchemy_url
from .tables import INCARNATION, NAMING, SCHEMAS, common_tables

T = TypeVar("T")


class History:
    """The revisions of one service: the Python files of `folder`."""

    def __init__(self, service: str, schema: str, folder: Path) -> None:
        self.service = service
        self.schema = schema
        self.folder = folder
        self.config = Config()
        self.script = ScriptDirectory(str(folder.parent), version_locations=[str(folder)])
        self.config.set_main_option("script_location", str(folder.parent).replace("%", "%%"))

    @staticmethod
    def of(service: str) -> "History":
        """By convention in `cloudphone_core.<service>.migrations.versions`; the cache worker's beside its own."""
        package = "cloudphone_cache.platform" if service == "cache" else f"cloudphone_core.{service}"
        module = importlib.import_module(f"{package}.migrations")
        return History(service, SCHEMAS[service], Path(next(iter(module.__path__))) / "versions")

    @property
    def head(self) -> str | None:
        return self.script.get_current_head()


async def migrate(url: str, service: str) -> list[str]:
    """Brings the service's schema to the newest revision, all or nothing, and returns what was applied.

    Migrators that start together take turns. Raises Unavailable when the database gives no answer.
    """
    return await upgrade(url, History.of(service))


async def current(url: str, service: str) -> str | None:
    """The revision the schema is at; None before the first."""
    return await _run(url, History.of(service), _current)


async def pending(url: str, service: str) -> list[str]:
    """The revisions that `migrate` would apply, oldest first."""
    return await _run(url, History.of(service), _pending)


def head(service: str) -> str | None:
    return History.of(service).head


async def upgrade(url: str, history: History) -> list[str]:
    return await _run(url, history, _upgrade)


async def differences(url: str, history: History, metadata: sa.MetaData) -> list[str]:
    """What distinguishes the migrated schema from the models; empty when they agree."""
    return await _run(url, history, lambda connection, history: _differences(connection, history, metadata))


def create_common_tables(op: Operations | Any, schema: str) -> None:
    """For a service's first revision: outbox, inbox, entity_versions, idempotency_keys, service_state.

    What it creates never changes: a later shape of these tables comes as a function and a revision of its own.
    """
    metadata = sa.MetaData(schema=schema, naming_convention=NAMING)
    common_tables(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.execute(f"INSERT INTO {schema}.service_state (incarnation, last_seq) VALUES (1, {INCARNATION})")  # noqa: S608


async def _run(url: str, history: History, work: Callable[[sa.Connection, History], T]) -> T:
    engine = create_async_engine(
        sqlalchemy_url(url),
        poolclass=NullPool,
        connect_args={"timeout": CONNECT_SECONDS, "server_settings": {"application_name": "cloudphone migrate"}},
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work, history)
    except OSError as error:
        raise Unavailable(f"{history.service} database", f"{error!r}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: sa.Connection, history: History) -> list[str]:
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
        {"name": f"cloudphone migrate {history.schema}"},
    )
    exists = connection.execute(sa.text("SELECT to_regnamespace(:schema) IS NOT NULL"), {"schema": history.schema})
    if not exists.scalar_one():
        connection.execute(sa.schema.CreateSchema(history.schema))
    connection.execute(sa.text("SELECT set_config('search_path', :path, true)"), {"path": f"{history.schema}, public"})
    applied = _pending(connection, history)

    def revisions(revision: Any, context: Any) -> Any:
        return history.script._upgrade_revs("head", revision)  # pyright: ignore[reportPrivateUsage]

    with EnvironmentContext(history.config, history.script, fn=revisions) as environment:
        environment.configure(connection, version_table_schema=history.schema)
        environment.run_migrations()
    return applied


def _current(connection: sa.Connection, history: History) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": history.schema})
    return context.get_current_revision()


def _pending(connection: sa.Connection, history: History) -> list[str]:
    lower = _current(connection, history) or "base"
    revisions = list(history.script.iterate_revisions("head", lower)) if history.head else []
    return [revision.revision for revision in reversed(revisions)]


def _differences(connection: sa.Connection, history: History, metadata: sa.MetaData) -> list[str]:
    def ours(name: str | None, kind: str, parents: Any) -> bool:
        return name == history.schema if kind == "schema" else True

    context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": history.schema,
            "include_schemas": True,
            "include_name": ours,
            "compare_type": True,
        },
    )
    return [str(difference) for difference in compare_metadata(context, metadata)]
