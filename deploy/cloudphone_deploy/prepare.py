"""Databases made, migrated and filled with the demo: what has to be true before the services start."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
import msgspec
import uvloop

from cloudphone_deploy import seed as demo_data
from cloudphone_deploy.demo import Demo
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.database.migrations import migrate
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.settings import Databases, SettingsError, load

OWNERS = ("user", "device", "app", "scheduler", "billing", "cache")
"""Who has tables."""

_untyped: Any = asyncpg


async def create_databases(urls: Iterable[str]) -> list[str]:
    """Make those that their servers lack, and return their names. Raises CommandError when a server refuses."""
    made: list[str] = []
    for url in dict.fromkeys(urls):
        parts = urlsplit(url)
        name = unquote(parts.path.lstrip("/"))
        try:
            connection = await _untyped.connect(url)
        except asyncpg.InvalidCatalogNameError:
            await _create(urlunsplit(parts._replace(path="/postgres")), name)
            made.append(name)
        except (OSError, asyncpg.PostgresError) as error:
            raise CommandError(
                f"The database {name} at {parts.hostname}:{parts.port or 5432} refuses: {error}."
            ) from error
        else:
            await connection.close()
    return made


async def migrate_all(databases: Databases) -> None:
    """One after the other: each owner's tables, to the newest version."""
    for owner in OWNERS:
        await migrate(databases.url_of(owner), owner)


async def seed(databases: Databases, *, live: bool = True) -> Demo:
    """The demo, filled in when the databases are empty; not `live`: as if phones ran that are nowhere."""
    return await demo_data.seed(databases, live=live)


async def prepare(*, with_demo: bool, live: bool = False) -> Demo:
    databases = load(Databases)
    await create_databases(databases.url_of(owner) for owner in OWNERS)
    await migrate_all(databases)
    return await seed(databases, live=live) if with_demo else Demo()


async def _create(server: str, name: str) -> None:
    try:
        connection = await _untyped.connect(server)
        try:
            await connection.execute(f'CREATE DATABASE "{name.replace(chr(34), "")}"')
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise CommandError(f"The database {name} does not exist and could not be made: {error}.") from error


def main(words: list[str]) -> None:
    """As a process of its own, `[--no-seed] [--live] FILE`: leaves the demo there, or ends with one sentence."""
    try:
        demo = uvloop.run(prepare(with_demo="--no-seed" not in words, live="--live" in words))
    except (CommandError, SettingsError, DomainError, Unavailable) as error:
        sys.exit(str(error))
    Path(words[-1]).write_bytes(msgspec.json.encode(demo))
