"""Apps get onto phones and off them: over the real adb, once, whoever dies or gives up on the way."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from cloudphone_core.device import installing
from cloudphone_core.device.installing import ApkCache, Damaged, Installer
from cloudphone_core.device.installing.requests import Asked, operation_of, take_request
from cloudphone_core.device.lifecycle.converging import SETTLE
from cloudphone_core.device.lifecycle.works import WORK
from cloudphone_core.device.operations.job import Points, nothing_happens
from cloudphone_core.device.operations.runner import Runner, merged
from cloudphone_shared.errors import NotFound, Unavailable
from cloudphone_shared.events.app import AppInstallCancelled, AppInstallRequested, AppUninstallRequested
from cloudphone_shared.http.streams import Flow
from cloudphone_shared.ids import uuid7
from tests.apks import apk
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.living import BRISK, SETTINGS, Life
from tests.core.device.phones import Phones, adb_port, phones  # noqa: F401

pytestmark = pytest.mark.anyio


class Files:
    """The app service's files. `breaks`: how often a download breaks off half-way; `asked`: each one's offset."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.breaks = 0
        self.asked: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    def add(self, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        self.content[sha256] = content
        return {"sha256": sha256, "url": sha256, "size": len(content)}

    @asynccontextmanager
    async def fetch(self, url: str, offset: int) -> AsyncGenerator[Flow]:
        self.asked.append(offset)
        if url not in self.content:
            raise NotFound
        yield cast("Flow", _Sent(self, self.content[url][offset:]))


class _Sent:
    def __init__(self, files: Files, content: bytes) -> None:
        self._files, self._content = files, content

    async def pieces(self) -> AsyncIterator[bytes]:
        half = len(self._content) // 2
        yield self._content[:half]
        await self._files.open.wait()
        if self._files.breaks:
            self._files.breaks -= 1
            raise Unavailable("app", "broken off")
        yield self._content[half:]


class Store(Life):
    """The app service's side of it: asks, and reads what it is told."""

    def __init__(self, world: World, phones: Phones, folder: Path) -> None:  # noqa: F811
        super().__init__(world, phones)
        self.files = Files()
        self.cache = ApkCache(folder, 10**8, self.files.fetch)
        self.package = f"org.a{uuid7().hex}"
        self.start_seconds = 30.0

    def runner(self, *, points: Points = nothing_happens, pace: Any = BRISK) -> Runner:
        installer = Installer(self.cache, start_seconds=self.start_seconds, look_seconds=0.05)
        works = merged(WORK, installing.works_of(installer))
        ends = merged(SETTLE, installing.SETTLE)
        provider, adb = self.phones.provider, self.phones.adb
        return Runner(self.world.database, provider, adb, works, ends, settings=SETTINGS, pace=pace, points=points)

    async def running(self) -> str:
        device_id = await self.held()
        await self.done(device_id, "start")
        return device_id

    def wanted(
        self, device_id: str, version: int = 1, content: bytes | None = None, **other: Any
    ) -> AppInstallRequested:
        file = self.files.add(content or apk(self.package, version, ballast=20_000))
        asked: dict[str, Any] = {
            "installation_id": uuid7(), "device_id": UUID(device_id), "tenant_id": self.world.tenant, "user_id": None,
            "app_version_id": uuid7(), "package_name": self.package, "version_code": version, "abis": [], "attempt": 1,
        }  # fmt: skip
        return AppInstallRequested(**{**asked, **file, **other})

    async def ask(self, *asked: Asked) -> None:
        """Nobody who asks is in the way of the worker, nor it in theirs: that would be Unavailable."""
        for each in asked:
            async with self.world.database.writing() as session:
                await take_request(session, each)

    async def told(self, asked: Asked) -> list[dict[str, Any]]:
        """What was announced of it, with its type, but for progress."""
        sql = """SELECT type, payload FROM device.outbox WHERE payload ->> 'installationId' = :id
                 AND type NOT IN ('app.install.progressed') ORDER BY id"""
        rows = await self.rows(sql, id=str(asked.installation_id))
        return [{"type": row.type, **row.payload} for row in rows]

    async def end(self, asked: Asked) -> dict[str, Any]:
        async def told() -> dict[str, Any] | None:
            found = await self.told(asked)
            return found[-1] if found else None

        return await eventually(told, every=0.02)

    async def steps(self, asked: Asked) -> list[str]:
        sql = """SELECT payload ->> 'state' AS state FROM device.outbox WHERE type = 'app.install.progressed'
                 AND payload ->> 'installationId' = :id ORDER BY id"""
        return list(dict.fromkeys(row.state for row in await self.rows(sql, id=str(asked.installation_id))))

    async def on_phone(self, device_id: str) -> int | None:
        row = await self.row(device_id)
        found = await self.phones.adb.installed(f"{row.adb_host}:{row.adb_port}", self.package)
        return found.version_code if found else None

    async def left_behind(self, device_id: str) -> list[str]:
        row = await self.row(device_id)
        found = await self.phones.adb.list_files(f"{row.adb_host}:{row.adb_port}", "/data/local/tmp")
        return [entry.name for entry in found]


def cancelled(asked: AppInstallRequested) -> AppInstallCancelled:
    return AppInstallCancelled(
        installation_id=asked.installation_id,
        device_id=asked.device_id,
        tenant_id=asked.tenant_id,
        attempt=asked.attempt,
    )


def off(asked: AppInstallRequested) -> AppUninstallRequested:
    return AppUninstallRequested(
        installation_id=asked.installation_id,
        device_id=asked.device_id,
        tenant_id=asked.tenant_id,
        user_id=None,
        package_name=asked.package_name,
        attempt=asked.attempt,
    )


@pytest.fixture
def store(world: World, phones: Phones, tmp_path: Path) -> Store:  # noqa: F811
    return Store(world, phones, tmp_path / "apks")


async def test_what_a_former_holder_asked_for_is_not_done_on_the_next_ones_phone(store: Store) -> None:
    ana, bob = (store.world.users.user(store.world.tenant, name) for name in ("Ana", "Bob"))
    device_id = await store.held(bob)
    late = store.wanted(device_id, user_id=ana.id)
    off = AppUninstallRequested(
        installation_id=uuid7(), device_id=UUID(device_id), tenant_id=store.world.tenant, user_id=ana.id,
        package_name=store.package, attempt=1,
    )  # fmt: skip
    waiting = store.wanted(device_id, user_id=bob.id)
    await store.ask(late, off, waiting)
    await store.rows("UPDATE device.devices SET owner_id = :id WHERE id = :device", id=ana.id, device=device_id)
    async with store.working():
        for asked in (late, off, waiting):
            [told] = await eventually(lambda asked=asked: store.told(asked), every=0.02)
            assert told["code"] == "device-reassigned", told
    assert (
        await store.rows("SELECT 1 FROM device.operations WHERE device_id = :id AND progress > 1", id=device_id) == []
    )


async def test_an_app_is_fetched_once_installed_on_many_upgraded_and_taken_off(store: Store) -> None:
    async with store.working():
        devices = await asyncio.gather(*(store.running() for _ in range(3)))
        store.files.breaks = 1
        content = apk(store.package, 1, ballast=20_000)
        asked = [store.wanted(device, content=content) for device in devices]
        await asyncio.gather(*(store.ask(each, each) for each in asked))
        for each, device in zip(asked, devices, strict=True):
            assert (await store.end(each))["type"] == "app.install.completed"
            assert await store.on_phone(device) == 1
            assert await store.left_behind(device) == []
        assert await store.steps(asked[0]) == ["downloading", "transferring", "installing", "verifying"]
        assert store.files.asked == [0, len(content) // 2]

        upgrade = store.wanted(devices[0], 5)
        await store.ask(upgrade)
        assert (await store.end(upgrade))["type"] == "app.install.completed"
        down = store.wanted(devices[0], 2)
        await store.ask(down)
        assert (await store.end(down))["code"] == "INSTALL_FAILED_VERSION_DOWNGRADE"
        stranger = store.wanted(devices[0], 6, apk(store.package, 6, by="Eve"))
        await store.ask(stranger)
        assert (await store.end(stranger))["code"] == "INSTALL_FAILED_UPDATE_INCOMPATIBLE"
        assert await store.on_phone(devices[0]) == 5
        gone = off(upgrade)
        await store.ask(gone, gone)
        await eventually(lambda: _has(store, gone, "app.uninstall.completed"))
        assert await store.on_phone(devices[0]) is None
    for each in (*asked, upgrade):
        ends = [told["type"] for told in await store.told(each)]
        assert ends.count("app.install.completed") == 1


async def _has(store: Store, asked: Asked, kind: str) -> bool:
    return kind in [told["type"] for told in await store.told(asked)]


async def test_what_is_given_up_ends_where_it_stands_unless_it_is_past_that(store: Store) -> None:
    before = store.wanted(str(uuid7()))
    await store.ask(cancelled(before))
    assert (await store.end(before))["cancelled"]
    async with store.working():
        device = await store.running()
        early = store.wanted(device)
        await store.ask(cancelled(early), early, early)
        assert (await store.end(early))["cancelled"]

        half_way = store.wanted(device)
        store.files.open.clear()
        await store.ask(half_way)
        await eventually(lambda: bool(store.files.asked))
        await store.ask(cancelled(half_way))
        assert (await store.end(half_way))["cancelled"]
        store.files.open.set()
        assert await store.on_phone(device) is None
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def waits(point: str) -> None:
        if point == "install.installed":
            reached.set()
            await go_on.wait()

    past = store.wanted(device)
    await store.ask(past)
    async with store.working(points=waits):
        await reached.wait()
        await store.ask(cancelled(past))
        go_on.set()
        assert (await store.end(past))["type"] == "app.install.completed"
    assert await store.on_phone(device) == 1
    for each in (early, half_way, past):
        assert len(await store.told(each)) == 1


async def test_what_cannot_be_done_is_said_with_a_code(store: Store) -> None:
    store.start_seconds = 0.0
    nobody = store.wanted(str(uuid7()))
    asleep = await store.held()
    off_device = store.wanted(asleep)
    never_there = off(off_device)
    await store.ask(nobody, off_device)
    async with store.working():
        assert (await store.end(nobody))["code"] == "device-gone"
        assert (await store.end(off_device))["code"] == "device-not-running"
        await store.ask(never_there)
        await eventually(lambda: _has(store, never_there, "app.uninstall.completed"))
        device = await store.running()
        for code, asked in (
            ("download-refused", store.wanted(device, url="nowhere")),
            ("download-damaged", store.wanted(device, sha256="0" * 64)),
            ("INSTALL_PARSE_FAILED_NOT_APK", store.wanted(device, content=b"not an apk at all")),
            ("INSTALL_FAILED_NO_MATCHING_ABIS", store.wanted(device, content=apk(store.package, abis=["riscv64"]))),
            ("not-verified", store.wanted(device, 2, apk(store.package, 1))),
        ):
            await store.ask(asked)
            assert (await store.end(asked))["code"] == code, code
            assert await store.left_behind(device) == []
    operation = await store.operation(str(operation_of("install", off_device.installation_id, 1)))
    assert (operation["kind"], operation["state"]) == ("install", "failed")


async def test_the_cache_is_bounded_and_goes_on_with_what_has_come(tmp_path: Path) -> None:
    files = Files()
    cache = ApkCache(tmp_path, 2500, files.fetch)
    made = [files.add(bytes([number]) * 1000) for number in range(4)]

    async def fetched(file: dict[str, Any]) -> Path:
        return await cache.path(file["sha256"], file["size"], file["url"])

    with cache.held(made[0]["sha256"]):
        kept = await fetched(made[0])
        for file in made[1:]:
            with cache.held(file["sha256"]):
                await fetched(file)
        assert kept.exists()
    assert size_of(tmp_path) <= 2500
    files.breaks, files.asked = 3, []
    file = files.add(b"x" * 1024)
    with cache.held(file["sha256"]), pytest.raises(Unavailable):
        await fetched(file)
    other = ApkCache(tmp_path, 2500, files.fetch)
    assert (await other.path(file["sha256"], file["size"], file["url"])).read_bytes() == b"x" * 1024
    assert files.asked == [0, 512, 768, 896]
    with pytest.raises(Damaged):
        await other.path("0" * 64, 1024, file["url"])
    with pytest.raises(NotFound):
        await other.path("1" * 64, 1024, "nowhere")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.apk"))
