"""Phones in containers of a real Docker Engine."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from cloudphone_core.device.adb import Adb as PlatformAdb
from cloudphone_core.device.providers.docker import DockerProvider, Engine
from cloudphone_core.device.providers.port import (
    DEPLOYMENT,
    DEVICE,
    GENERATION,
    Container,
    ContainerPlan,
    ProviderAway,
    ProviderRefused,
)
from cloudphone_deploy.containers import remove_all
from cloudphone_deploy.doctor.engine import engine as look_at_engine
from cloudphone_deploy.doctor.phone import phone
from cloudphone_shared.settings import Devices
from tests.conditions import eventually
from tests.conftest import running
from tests.docker_engine import IMAGE, DockerEngine
from tests.phone.adb import Adb, Connected
from tests.phone.adb import running as adb_running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with running(DockerEngine) as engine:
        engine.make_image()
        yield engine


@pytest.fixture(scope="module")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    with adb_running(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture
async def provider(engine: DockerEngine) -> AsyncIterator[DockerProvider]:
    provider = DockerProvider(
        Engine(url=engine.url, image=IMAGE, privileged=False, pids=200, stop_seconds=5, health_seconds=1)
    )
    yield provider
    await provider.close()


def planned(deployment: str = "tests", **changes: object) -> ContainerPlan:
    device = uuid4()
    facts: dict[str, object] = {
        "device_id": device,
        "name": f"phone-{device}-1",
        "volume": f"volume-{device}-1",
        "labels": {DEPLOYMENT: deployment, DEVICE: str(device), GENERATION: "1"},
        "image": None,
        "android_version": "13",
        "abis": ("x86_64",),
        "cpu_cores": 2,
        "memory_mib": 256,
        "storage_gib": 1,
        "width": 720,
        "height": 1280,
        "dpi": 320,
    }
    return ContainerPlan(**{**facts, **changes})  # pyright: ignore[reportArgumentType]


async def started(provider: DockerProvider, plan: ContainerPlan) -> Container:
    return await provider.start((await provider.create(plan)).id)


async def booted(provider: DockerProvider, container: Container) -> None:
    """As the engine itself sees it, by its health check."""

    async def running() -> bool:
        present = await provider.inspect(container.id)
        return present is not None and present.state == "running"

    assert container.state == "booting"
    await eventually(running)


async def connected(adb: Adb, container: Container) -> Connected:
    assert container.address
    phone = Connected(adb, *container.address)
    await phone.connect()
    return phone


async def test_a_phone_runs_in_a_container_within_its_limits_and_adb_reaches_it_on_loopback_only(
    engine: DockerEngine, provider: DockerProvider, adb: Adb
) -> None:
    container = await started(provider, planned())
    assert container.address and container.address[0] == "127.0.0.1"
    phone = await connected(adb, container)
    assert (await phone.shell("getprop ro.product.name")).strip()
    there_are = int(engine.docker("info", "--format", "{{.NCPU}}"))
    assert (await provider.create(planned(cpu_cores=there_are + 1))).state == "off", "more cores than there are is all"
    limits = engine.docker(
        "inspect", "-f", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} "
        "{{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Privileged}}", container.id,
    )  # fmt: skip
    assert limits.split() == ["2000000000", str(256 << 20), str(256 << 20), "200", "no", "false"]


async def test_what_an_installation_leaves_is_removed_with_its_data_and_nothing_of_others(
    engine: DockerEngine, provider: DockerProvider
) -> None:
    container, theirs = await started(provider, planned("leaving")), await provider.create(planned("staying"))
    leaving = Devices(provider="docker", docker_url=engine.url, deployment_id="leaving")
    assert await remove_all(leaving) == 1
    assert await provider.inspect(container.id) is None
    assert await provider.volumes({DEPLOYMENT: "leaving"}) == []
    assert [each.id for each in await provider.find({DEPLOYMENT: "staying"})] == [theirs.id]
    assert await remove_all(leaving) == 0


async def test_whatever_is_asked_twice_is_done_once(engine: DockerEngine, provider: DockerProvider) -> None:
    plan = planned()
    first, again = await provider.create(plan), await provider.create(plan)
    assert first.id == again.id and first.state == "off" and first.address is None
    once, twice = await provider.start(first.id), await provider.start(first.id)
    assert once.address == twice.address
    await provider.stop(first.id)
    assert (await provider.stop(first.id)).state == "off"
    await provider.remove(first.id)
    await provider.remove(first.id)
    assert await provider.inspect(first.id) is None
    assert plan.volume in engine.docker("volume", "ls", "--quiet"), "a removed phone leaves its memory"
    await provider.remove_volume(plan.volume)
    await provider.remove_volume(plan.volume)
    assert plan.volume not in engine.docker("volume", "ls", "--quiet")


async def test_a_volume_outlives_its_container_its_copy_holds_the_same_and_a_half_made_one_is_made_anew(
    engine: DockerEngine, provider: DockerProvider, adb: Adb
) -> None:
    plan = planned()
    container = await started(provider, plan)
    phone = await connected(adb, container)
    await phone.shell("echo remembered > /sdcard/note")
    with pytest.raises(ProviderRefused) as refused:
        await provider.copy_volume(plan.volume, "snapshot-1", plan.labels)
    assert refused.value.code == "in-use"
    await phone.disconnect()
    await provider.stop(container.id)
    engine.docker("volume", "create", "snapshot-1")
    engine.docker("run", "--rm", "-v", "snapshot-1:/to", "--entrypoint", "/bin/sh", IMAGE, "-c", "echo half > /to/left")
    await provider.remove(container.id)
    copy = await provider.copy_volume(plan.volume, "snapshot-1", plan.labels)
    assert copy.size > 0
    assert await provider.copy_volume("snapshot-1", "snapshot-2", plan.labels) == copy
    for volume in (plan.volume, "snapshot-2"):
        phone = await connected(adb, await started(provider, planned(volume=volume)))
        assert await phone.shell("cat /sdcard/note") == "remembered\n"
    listed = {volume.name: volume.labels for volume in await provider.volumes({DEPLOYMENT: "tests"})}
    assert listed["snapshot-1"] == plan.labels


async def test_foreign_containers_are_not_ours_and_one_that_ended_by_itself_has_crashed(
    engine: DockerEngine, provider: DockerProvider
) -> None:
    engine.docker("run", "--detach", "--name", "foreign", "--label", f"{DEPLOYMENT}=ours", IMAGE)
    ours = await started(provider, planned("ours"))
    await started(provider, planned("theirs"))
    found = await provider.find({DEPLOYMENT: "ours"})
    assert [each.id for each in found] == [ours.id] and found[0].address == ours.address
    await booted(provider, ours)
    engine.docker("kill", "--signal=USR1", ours.id)

    async def crashed() -> bool:
        container = await provider.inspect(ours.id)
        return container is not None and container.state == "crashed"

    await eventually(crashed)
    assert [each.state for each in await provider.find({DEPLOYMENT: "ours"})] == ["crashed"]


async def test_an_image_that_cannot_be_had_is_refused_and_leaves_nothing(
    engine: DockerEngine, provider: DockerProvider
) -> None:
    plan = planned(image="127.0.0.1:1/none/such:1")
    with pytest.raises(ProviderRefused) as refused:
        await provider.create(plan)
    assert refused.value.code == "no-image" and "127.0.0.1:1/none/such:1" in refused.value.detail
    assert plan.volume not in engine.docker("volume", "ls", "--quiet")


async def test_an_engine_that_is_away_is_no_refusal() -> None:
    provider = DockerProvider(Engine(url="unix:///nowhere/docker.sock"))
    with pytest.raises(ProviderAway):
        await provider.find({})
    await provider.close()


async def test_the_doctor_takes_a_phone_through_its_life_and_leaves_nothing_behind(
    engine: DockerEngine, provider: DockerProvider, adb: Adb
) -> None:
    asked = PlatformAdb(("127.0.0.1", adb.port))
    before = (engine.docker("ps", "--all", "--quiet"), engine.docker("volume", "ls", "--quiet"))
    findings = [finding async for finding in phone(provider, asked, "tests", boot_seconds=60)]
    await asked.close()
    assert [finding.verdict for finding in findings] == ["ok"] * 7, findings
    assert (engine.docker("ps", "--all", "--quiet"), engine.docker("volume", "ls", "--quiet")) == before
    told = {finding.about: finding.verdict async for finding in look_at_engine(Engine(url=engine.url))}
    assert told["Docker Engine"] == "ok" and told["limits"] == "ok"
