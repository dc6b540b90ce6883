"""kill -9 of the worker at each step of an install: the phone outlives it, another goes on, each effect once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudphone_core.device.installing.requests import Asked
from cloudphone_phone import controlled
from tests.apks import apk
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.phones import Phones
from tests.core.device.test_installing import Store, cancelled, off

pytestmark = pytest.mark.anyio

INSTALL = (
    "claimed", "fetching", "downloaded", "sending", "brought", "installed", "verified", "done", "finishing", "finished",
)  # fmt: skip


@pytest.fixture
def store(world: World, phones: Phones, tmp_path: Path) -> Store:
    return Store(world, phones, tmp_path / "apks")


class Deaths:
    """Workers, one after another, each killed where it is told."""

    device = ""

    def __init__(self, process: asyncio.subprocess.Process, store: Store) -> None:
        self._process, self._store = process, store

    async def work(self, place: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{place}\n".encode())

    async def at(self, *places: str) -> None:
        """Each goes on from where the one before it died."""
        assert self._process.stdout
        for place in places:
            await self.work(place)
            async with asyncio.timeout(60):
                assert int(await self._process.stdout.readline()) == -signal.SIGKILL, place
            await self._store.lease_ends(self.device)


@asynccontextmanager
async def deaths(store: Store, *arguments: object) -> AsyncIterator[Deaths]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.core.device.dying_installer", *map(str, arguments), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield Deaths(process, store)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_worker_killed_at_any_step_of_an_install_leaves_each_effect_once(
    store: Store, url: str, adb_port: int, tmp_path: Path
) -> None:
    socket, cached = tmp_path / "farm.sock", tmp_path / "apks"

    def wanted(device: str, version: int) -> Any:
        asked = store.wanted(device, version, apk(store.package, version, ballast=100_000))
        (tmp_path / asked.sha256).write_bytes(store.files.content[asked.sha256])
        return asked

    async with controlled(store.phones.farm, socket), deaths(store, url, socket, adb_port, tmp_path) as dying:
        # The workers are being started meanwhile.
        async with store.working():
            device = dying.device = await store.running()
        first = wanted(device, 1)
        await store.ask(first, first)
        await dying.at(*INSTALL)
        assert await store.on_phone(device) == 1
        await store.ask(first)

        alone = wanted(device, 2)
        await store.ask(alone, alone)
        await dying.at("installing", "finishing", "finished")
        assert await store.on_phone(device) == 2

        given_up = wanted(device, 3)
        await store.ask(given_up)
        await dying.at("brought")
        assert len(await store.left_behind(device)) == 1
        await store.ask(cancelled(given_up))
        await dying.at("finishing", "finished")
        assert await store.on_phone(device) == 2
        left = await store.left_behind(device)

        taken_off = off(alone)
        await store.ask(taken_off, taken_off)
        await dying.at("uninstalled", "finishing", "finished")
        await store.ask(taken_off, given_up, alone, first)
        await dying.work("nowhere")
        await eventually(lambda: nothing_to_do(store, device))
        assert await store.on_phone(device) is None

    assert left == await store.left_behind(device) == []
    assert await ends_of(store, first) == ["app.install.completed"]
    assert await ends_of(store, alone) == ["app.install.completed", "app.uninstall.completed"]
    assert await ends_of(store, given_up) == ["app.install.failed"]
    assert (await store.told(given_up))[0]["cancelled"]
    whole = {path.name for path in cached.iterdir()}
    assert whole == {f"{each.sha256}.apk" for each in (first, alone, given_up)}
    for each in (first, alone, given_up):
        assert (cached / f"{each.sha256}.apk").read_bytes() == store.files.content[each.sha256]


async def ends_of(store: Store, asked: Asked) -> list[str]:
    return [told["type"] for told in await store.told(asked)]


async def nothing_to_do(store: Store, device: str) -> bool:
    sql = "SELECT 1 FROM device.operations WHERE device_id = :id AND finished_at IS NULL"
    return not await store.rows(sql, id=device)
