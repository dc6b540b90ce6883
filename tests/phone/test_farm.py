"""Many phones in one process, asked from this one or from another: the same answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudphone_phone import Farm, FarmAway, FarmRefused, Faults, Model, Phones, Plan, RemoteFarm, controlled
from tests.apks import apk
from tests.conditions import eventually
from tests.phone.host import host

pytestmark = pytest.mark.anyio
AT_ONCE = Model(boot_seconds=0.0)


def plan(name: str, volume: str | None = None, **labels: str) -> Plan:
    return Plan(name=name, volume=volume or f"{name}-volume", model=AT_ONCE, labels=labels)


@pytest.fixture(params=["here", "elsewhere"])
async def phones(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Phones]:
    farm = Farm(tmp_path / "farm")
    await farm.open()
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "elsewhere":
            await stack.enter_async_context(controlled(farm, tmp_path / "control"))
            yield RemoteFarm(tmp_path / "control")
        else:
            yield farm
    await farm.close()


async def running(phones: Phones, name: str) -> tuple[str, int]:
    await phones.start(name)

    async def booted() -> bool:
        [status] = [status for status in await phones.find({}) if status.name == name]
        return status.state == "running"

    await eventually(booted)
    [status] = [status for status in await phones.find({}) if status.name == name]
    return status.host, status.port


async def test_a_phone_is_made_used_and_removed(phones: Phones) -> None:
    created = await phones.create(plan("one", deployment="d1"))
    assert (created.state, created.labels) == ("off", {"deployment": "d1"})
    address = await running(phones, "one")
    async with host(address) as shell:
        assert await shell.install(apk()) == "Success"
    assert (await phones.stop("one")).state == "off"
    assert await running(phones, "one") == address
    await phones.remove("one")
    assert await phones.find({}) == []


async def test_asking_twice_does_it_once(phones: Phones) -> None:
    assert await phones.create(plan("one")) == await phones.create(plan("one"))
    first, second = await asyncio.gather(phones.start("one"), phones.start("one"))
    assert first.port == second.port
    for _ in range(2):
        assert (await phones.stop("one")).state == "off"
    for _ in range(2):
        await phones.remove("one")
    for _ in range(2):
        await phones.remove_volume("one-volume")


async def test_phones_are_found_by_their_labels(phones: Phones) -> None:
    await phones.create(plan("one", deployment="d1", device="a"))
    await phones.create(plan("two", deployment="d1", device="b"))
    await phones.create(plan("three", deployment="d2", device="a"))
    assert [status.name for status in await phones.find({"deployment": "d1"})] == ["one", "two"]
    assert [status.name for status in await phones.find({"deployment": "d2", "device": "a"})] == ["three"]


async def test_what_cannot_be_done_is_refused(phones: Phones) -> None:
    await phones.create(plan("one"))
    for code, asked in {
        "invalid": phones.create(plan("../one")),
        "unknown": phones.start("two"),
        "exists": phones.create(plan("one", "other")),
        "unusable": phones.reboot("one"),
        "in-use": phones.remove_volume("one-volume"),
    }.items():
        with pytest.raises(FarmRefused) as refused:
            await asked
        assert refused.value.code == code
    with pytest.raises(FarmRefused, match="belongs to another"):
        await phones.create(plan("two", "one-volume"))


async def test_a_volume_outlives_its_phone_until_it_is_removed(phones: Phones, tmp_path: Path) -> None:
    await phones.create(plan("one"))
    async with host(await running(phones, "one")) as shell:
        await shell.run("echo mine > /sdcard/mine")
    await phones.remove("one")
    await phones.create(plan("other", "one-volume"))
    async with host(await running(phones, "other")) as shell:
        assert await shell.run("cat /sdcard/mine") == "mine\n"
    await phones.remove("other")
    await phones.remove_volume("one-volume")
    assert not list((tmp_path / "farm/volumes").iterdir())


async def test_a_snapshot_is_taken_of_a_phone_that_is_off(phones: Phones) -> None:
    await phones.create(plan("one"))
    async with host(await running(phones, "one")) as shell:
        await shell.run("echo before > /sdcard/file")
        with pytest.raises(FarmRefused, match="uses the volume"):
            await phones.copy_volume("one-volume", "snapshot")
    await phones.stop("one")
    taken = await phones.copy_volume("one-volume", "snapshot")
    assert taken.size > 0
    with pytest.raises(FarmRefused, match="There is a volume"):
        await phones.copy_volume("one-volume", "snapshot")
    assert await phones.copy_volume("snapshot", "again") == taken
    async with host(await running(phones, "one")) as shell:
        await shell.run("echo after > /sdcard/file")
    await phones.stop("one")
    assert (await phones.copy_volume("one-volume", "later")).sha256 != taken.sha256
    await phones.create(plan("two", "again"))
    async with host(await running(phones, "two")) as shell:
        assert await shell.run("cat /sdcard/file") == "before\n"


async def test_faults_and_crashes_are_made_by_name(phones: Phones) -> None:
    await phones.create(plan("one"))
    await phones.inflict("one", Faults(boot_seconds=1e9, install_failure="INSTALL_FAILED_DEXOPT"))
    status = await phones.start("one")
    assert (status.state, status.faults.install_failure) == ("booting", "INSTALL_FAILED_DEXOPT")
    assert (await phones.crash("one")).state == "crashed"
    await phones.inflict("one", Faults())
    await running(phones, "one")


async def test_what_was_on_is_on_again_after_a_restart(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    await farm.open()
    for name in ("one", "two"):
        await farm.create(plan(name))
    before = await farm.start("one")
    await farm.close()
    again = Farm(tmp_path)
    await again.open()
    states = {status.name: (status.state in ("booting", "running"), status.port) for status in await again.find({})}
    assert states == {"one": (True, before.port), "two": (False, 0)}
    with pytest.raises(FarmRefused, match="Another process"):
        await Farm(tmp_path).open()
    await again.close()


async def test_who_asks_a_farm_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FarmAway):
        await RemoteFarm(tmp_path / "control").find({})


async def test_a_farm_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    farm = Farm(deep)
    await farm.open()
    async with controlled(farm, deep / "control"):
        assert await RemoteFarm(deep / "control").find({}) == []
    await farm.close()
    with pytest.raises(FarmAway):
        await RemoteFarm(deep / "control").find({})


async def test_the_control_answers_nonsense_with_a_refusal(tmp_path: Path) -> None:
    farm = Farm(tmp_path / "farm")
    await farm.open()
    async with controlled(farm, tmp_path / "control"):
        assert (tmp_path / "control").stat().st_mode & 0o077 == 0
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control")
        for line in (b"{}\n", b"nonsense\n", b'{"type":"act","verb":"fly","name":"one"}\n'):
            writer.write(line)
            assert json.loads(await reader.readline())["refused"] == "invalid"
        writer.close()
    await farm.close()
