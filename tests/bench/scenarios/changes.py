"""Changes: from the commit, by the database's clock, until every process has heard it, and until a caller sees it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from tests.bench.figures import Figures
from tests.bench.load import percentile
from tests.bench.stand import BenchServer, Stand

READERS = 4
_CORE = "CLOUDPHONE_CORE_DATABASE_URL"


async def heard(stand: Stand, figures: Figures) -> None:
    """Commit → heard: users renamed one after the other, the slowest of four reading processes counts."""
    users = stand.users[: stand.effort.less(100, 25)]
    async with _readers(stand) as readers:
        async with asyncio.timeout(30):
            await asyncio.gather(*(_hear(reader, {("listening", 0)}) for reader in readers))
        async with aiohttp.ClientSession() as http:
            for user in users:
                await rename(stand, http, "user", f"/v1/users/{user}", f"Heard {user[-6:]}")
                await asyncio.sleep(0.03)
        committed = await commit_times(stand, [f"user:{user}" for user in users])
        async with asyncio.timeout(60):
            found = await asyncio.gather(*(_hear(reader, set(committed)) for reader in readers))
    took = sorted((max(each[change] for each in found) - at) / 1e6 for change, at in committed.items())
    figures.add("commit_to_heard_p50_ms", percentile(took, 0.5), "ms")
    figures.add("commit_to_heard_p99_ms", percentile(took, 0.99), "ms")
    figures.add("commit_to_heard_changes", len(took), "changes")


async def seen(stand: Stand, figures: Figures) -> None:
    """Commit → seen: a device's owner renamed while somebody reads its screen over and over from an L1."""
    async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:
        devices = stand.devices[: stand.effort.less(60, 15)]
        took = sorted([await _until_seen(stand, http, bff, device) for device in devices])
    figures.add("commit_to_seen_p50_ms", percentile(took, 0.5), "ms")
    figures.add("commit_to_seen_p99_ms", percentile(took, 0.99), "ms")
    figures.add("commit_to_seen_changes", len(took), "changes")


async def _until_seen(stand: Stand, http: aiohttp.ClientSession, bff: BenchServer, device: str) -> float:
    """Milliseconds from the commit to the end of the first answer that shows it."""
    owner = (await stand.ask(http, "device", f"/v1/devices/{device}"))["ownerId"]
    name = f"Seen {time.time_ns()}"
    headers = {"Authorization": f"Bearer {stand.tokens[0]}"}

    async def look() -> bytes:
        async with http.get(f"{bff.url}/admin/devices/{device}", headers=headers) as answer:
            return await answer.read()

    await look()
    writing = asyncio.create_task(rename(stand, http, "user", f"/v1/users/{owner}", name))
    wanted = name.encode()
    async with asyncio.timeout(10):
        while wanted not in await look():  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
    at = time.time_ns()
    await writing
    committed = await commit_times(stand, [f"user:{owner}"])
    return (at - max(committed.values())) / 1e6


async def rename(stand: Stand, http: aiohttp.ClientSession, service: str, path: str, name: str) -> None:
    """At the service itself. Raises RuntimeError when it refuses."""
    async with http.patch(stand.platform.url(service) + path, json={"name": name}, headers=stand.staff) as answer:
        if answer.status != 200:
            raise RuntimeError(f"no rename: {answer.status} {await answer.text()}")


async def commit_times(stand: Stand, entities: Sequence[str], schema: str = "identity") -> dict[tuple[str, int], int]:
    """Nanoseconds since 1970 at which each entity's latest version was committed."""
    connection = await asyncpg.connect(stand.platform.databases[_CORE])
    rows = await connection.fetch(
        "SELECT entity, version, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e9)::bigint AS at "
        f"FROM {schema}.entity_versions WHERE entity = ANY($1)",
        list(entities),
    )
    await connection.close()
    return {(row["entity"], row["version"]): row["at"] for row in rows}


@asynccontextmanager
async def _readers(stand: Stand) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    readers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.hearing", stand.valkey.url, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, **stand.platform.environment},
        )
        for _ in range(READERS)
    ]  # fmt: skip
    try:
        yield readers
    finally:
        for reader in readers:
            reader.kill()
            await reader.wait()


async def _hear(reader: asyncio.subprocess.Process, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    assert reader.stdout
    found: dict[tuple[str, int], int] = {}
    while not wanted <= found.keys():
        words = (await reader.stdout.readline()).split()
        if len(words) != 3:
            raise RuntimeError("a reader ended before it had heard everything")
        found[words[1].decode(), int(words[2])] = int(words[0])
    return found
