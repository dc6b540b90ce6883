"""The servers that the platform stands on, each asked once."""

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from redis.exceptions import RedisError

from cloudphone_cache.redis import dial, parse
from cloudphone_core.device.adb import Adb
from cloudphone_deploy import prepare
from cloudphone_shared.bus import connect as connect_bus
from cloudphone_shared.database.migrations import pending
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import BusSettings, Databases, Devices, Redis

from .finding import Finding, broken, doubtful, well

PATIENCE_SECONDS = 3.0
_LITTLE_SPACE = 2 << 30
_untyped: Any = asyncpg


async def servers(databases: Databases, store: Redis, bus: BusSettings, devices: Devices) -> list[Finding]:
    """All asked at once, told in their order."""
    return [
        *await asyncio.gather(
            *(database(owner, databases.url_of(owner)) for owner in prepare.OWNERS),
            redis_of(store.redis_url),
            bus_of(bus.bus_url),
            adb(devices.adb_server),
        ),
        space(Path(devices.data)),
    ]


async def database(owner: str, url: str) -> Finding:
    about = f"database of {owner}"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            connection = await _untyped.connect(url)
            version: str = await connection.fetchval("SHOW server_version")
            await connection.close()
            missing = await pending(url, owner)
    except (OSError, TimeoutError, asyncpg.PostgresError, Unavailable) as error:
        return broken(about, _said(error), "start PostgreSQL, or set its URL; `cloudphone config` shows it")
    if missing:
        return broken(about, f"PostgreSQL {version}; {len(missing)} migrations behind", "run `cloudphone migrate`")
    return well(about, f"PostgreSQL {version}, its tables at their newest")


async def redis_of(url: str) -> Finding:
    async def version() -> str:
        link = await dial(parse(url), within=PATIENCE_SECONDS)
        try:
            told = (await link.ask("INFO", "server")).decode()
        finally:
            link.close()
        facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
        return f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"

    return await _answered("Redis", version(), "start Redis or Valkey, or set CLOUDPHONE_REDIS_URL")


async def bus_of(url: str) -> Finding:
    bus = connect_bus(url)

    async def reached() -> str:
        await bus.start()
        return urlsplit(url).scheme

    try:
        return await _answered("bus", reached(), "start the broker, or set CLOUDPHONE_BUS_URL")
    finally:
        await bus.stop()


async def adb(server: str) -> Finding:
    host, _, port = server.rpartition(":")
    asked = Adb((host, int(port)), deadline=PATIENCE_SECONDS)

    async def phones() -> str:
        return f"{len(await asked.states())} phones connected at {server}"

    try:
        return await _answered("adb server", phones(), "run `cloudphone up`, or `adb -P PORT nodaemon server`")
    finally:
        await asked.close()


def space(folder: Path) -> Finding:
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / (1 << 30):.1f} GiB free at {place}"
    if free < _LITTLE_SPACE:
        return doubtful("disk", detail, "make room: phones, uploads and logs grow there")
    return well("disk", detail)


async def _answered(about: str, asking: Awaitable[str], advice: str) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return well(about, await asking)
    except (OSError, TimeoutError, RedisError, Unavailable) as error:
        return broken(about, _said(error), advice)


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_SECONDS:.0f} s"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
