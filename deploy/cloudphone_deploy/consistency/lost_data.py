"""What happens to stored data: Redis loses, forgets or brings back things, and a database goes back in time."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cloudphone_cache.feed import stream_of
from cloudphone_deploy import embedded
from cloudphone_deploy.consistency.laboratory import SERVICES, Laboratory
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.database import SCHEMAS

EVERY_SECONDS = 0.2


async def empty(laboratory: Laboratory, target: str, seconds: float) -> None:
    part = await laboratory.part_now(target)
    await part.kill()
    try:
        shutil.rmtree(laboratory.folder.path / part.name / "appendonlydir", ignore_errors=True)
        await asyncio.sleep(seconds)
    finally:
        await part.start()


async def flush(laboratory: Laboratory, target: str, seconds: float) -> None:
    for _ in range(3):
        async with laboratory.masters() as masters:
            await asyncio.gather(*(redis.flushall() for redis in masters))
        await asyncio.sleep(seconds / 3)


async def evict(laboratory: Laboratory, target: str, seconds: float) -> None:
    """Room for half of what was stored, and for a moment for nothing at all."""
    async with laboratory.masters() as masters:
        await asyncio.gather(*(_evict(redis, seconds) for redis in masters))


async def _evict(redis: Any, seconds: float) -> None:
    before = (await redis.config_get("maxmemory"))["maxmemory"]
    memory = await redis.info("memory")
    stored = memory["used_memory"] - memory["used_memory_startup"]
    try:
        for share in (0.5, 0.0):
            await redis.config_set("maxmemory", int(memory["used_memory_startup"] + share * stored))
            await asyncio.sleep(seconds / 2)
    finally:
        await redis.config_set("maxmemory", before)


async def set_back(laboratory: Laboratory, target: str, seconds: float) -> None:
    async with laboratory.masters() as masters:
        await asyncio.gather(*(_set_back(redis, seconds, at_once=len(masters) == 1) for redis in masters))


async def _set_back(redis: Any, seconds: float, *, at_once: bool) -> None:
    """A node of a cluster makes no transaction of keys in different slots."""
    held = [(key, await redis.dump(key), await redis.pttl(key)) async for key in redis.scan_iter(count=1000)]
    await asyncio.sleep(seconds)
    async with redis.pipeline(transaction=at_once) as pipeline:
        pipeline.flushall()
        for key, value, life in held:
            if value is not None and life != -2:
                pipeline.restore(key, max(life, 0), value, replace=True)
        await pipeline.execute()


async def cut(laboratory: Laboratory, target: str, seconds: float) -> None:
    """`target` is the name that such connections bear."""
    end = asyncio.get_running_loop().time() + seconds
    async with laboratory.masters() as masters:
        while asyncio.get_running_loop().time() < end:
            for redis in masters:
                for client in await redis.client_list():
                    if client["name"] == target:
                        await redis.client_kill_filter(_id=client["id"])
            await asyncio.sleep(EVERY_SECONDS)


async def trim(laboratory: Laboratory, target: str, seconds: float) -> None:
    """So that it finds a hole when it goes on."""
    part = laboratory.part(target)
    end = asyncio.get_running_loop().time() + seconds
    part.stop()
    try:
        async with laboratory.redis() as redis:
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(EVERY_SECONDS)
                for service in SERVICES:
                    await redis.xtrim(stream_of(service), maxlen=1, approximate=False)
    finally:
        part.go_on()


async def restore(laboratory: Laboratory, target: str, seconds: float) -> None:
    """Changes made after the backup are lost, whatever was announced of them."""
    await back_up(laboratory, target)
    await asyncio.sleep(seconds)
    await bring_back(laboratory, target)


async def unknown(laboratory: Laboratory, target: str, seconds: float) -> None:
    """A process of a BFF that knows the service begins before the cache worker of its release."""
    service, _, bff = target.partition(" ")
    writer, reader = laboratory.part("cache-worker"), laboratory.part(bff)
    laboratory.write_feeds_of([each for each in SERVICES if each != service])
    try:
        await writer.end()
        await writer.start()
        async with laboratory.redis() as redis:
            await redis.delete(stream_of(service))
        await reader.end()
        await reader.start()
        await asyncio.sleep(seconds)
    finally:
        laboratory.write_feeds_of(SERVICES)
        await writer.end()
        await writer.start()


async def back_up(laboratory: Laboratory, service: str) -> None:
    """Of its data, into the laboratory's folder."""
    options = ["--data-only", "--disable-triggers", f"--schema={SCHEMAS[service]}"]
    await _postgres("pg_dump", laboratory.database_url(service), *options, f"--file={_backup(laboratory)}")


async def bring_back(laboratory: Laboratory, service: str, *, announced: bool = True) -> None:
    """The last backup's data, while no service runs. `announced`: as the operator is told to, by `restored`."""
    parts = [laboratory.part("services"), laboratory.part("workers")]
    for part in parts:
        await part.kill()
    emptied = ["-c", _EMPTIED.replace("{schema}", SCHEMAS[service])]
    options = ["-q", "-1", "-v", "ON_ERROR_STOP=1", *emptied, "-f", str(_backup(laboratory))]
    try:
        await _postgres("psql", laboratory.database_url(service), *options)
        if announced:
            await laboratory.cloudphone("restored", service)
    finally:
        for part in parts:
            await part.start()


def _backup(laboratory: Laboratory) -> Path:
    return laboratory.folder.path / "backup.sql"


# Not TRUNCATE, which shows through to whoever took his snapshot before.
_EMPTIED = """
DO $$ DECLARE one text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = '{schema}' LOOP
        EXECUTE 'DELETE FROM ' || one;
    END LOOP;
END $$
"""


async def _postgres(program: str, url: str, *arguments: str) -> None:
    """Raises CommandError with what it said."""
    process = await asyncio.create_subprocess_exec(
        embedded.postgres_binary(program),
        *arguments,
        env=_reaching(url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise CommandError(f"{program} failed: {said.decode(errors='replace').strip()}")


def _reaching(url: str) -> Mapping[str, str]:
    parts = urlsplit(url)
    return {
        **os.environ,
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
