"""The simulated provider, as its port promises: what is asked for twice is done once."""

from pathlib import Path
from uuid import uuid4

import pytest

from cloudphone_core.device.providers.port import DEPLOYMENT, ProviderAway, ProviderRefused
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_phone import RemoteFarm, controlled
from tests.core.device.phones import Phones, plan

pytestmark = pytest.mark.anyio


async def test_containers_and_volumes_are_made_found_and_removed(phones: Phones) -> None:
    provider, asked = phones.provider, plan()
    assert (await provider.create(asked)).state == "off"
    created = await provider.create(asked)
    await provider.create(plan(deployment="theirs"))
    assert [volume.name for volume in await provider.volumes({DEPLOYMENT: "ours"})] == [asked.volume]
    [found] = await provider.find({DEPLOYMENT: "ours"})
    assert (found, found.labels, found.volume) == (created, asked.labels, asked.volume)
    assert found.created_at is not None and found.address is None
    assert (await provider.start(found.id)).address is not None
    with pytest.raises(ProviderRefused) as refused:
        await provider.remove_volume(asked.volume)
    assert refused.value.code == "in-use"
    for _ in range(2):
        await provider.stop(found.id)
    for _ in range(2):
        await provider.remove(found.id)
    assert await provider.inspect(found.id) is None
    for _ in range(2):
        await provider.remove_volume(asked.volume)
    assert await provider.volumes({DEPLOYMENT: "ours"}) == []


async def test_a_copy_that_was_interrupted_is_made_anew(phones: Phones) -> None:
    provider, asked = phones.provider, plan()
    container, address = await phones.start(asked)
    await phones.adb.shell(address, ["touch", "/sdcard/first"])
    with pytest.raises(ProviderRefused) as refused:
        await provider.copy_volume(asked.volume, "copy", {DEPLOYMENT: "ours", "snapshot": "1"})
    assert refused.value.code == "in-use"
    await provider.stop(container.id)
    first = await provider.copy_volume(asked.volume, "copy", {DEPLOYMENT: "ours", "snapshot": "1"})
    assert await provider.copy_volume(asked.volume, "copy", {DEPLOYMENT: "ours", "snapshot": "1"}) == first
    assert [volume.name for volume in await provider.volumes({"snapshot": "1"})] == ["copy"]
    with pytest.raises(ProviderRefused) as refused:
        await provider.copy_volume("copy", asked.volume, {})
    assert refused.value.code == "in-use"
    with pytest.raises(ProviderRefused) as refused:
        await provider.copy_volume(f"{uuid4()}", "copy", {})
    assert refused.value.code == "unknown"
    assert [volume.name for volume in await provider.volumes({"snapshot": "1"})] == ["copy"]


async def test_a_farm_in_another_process_is_the_same_and_may_be_away(phones: Phones, tmp_path: Path) -> None:
    socket = tmp_path / "control"
    provider, asked = SimulatedProvider(RemoteFarm(socket)), plan()
    with pytest.raises(ProviderAway):
        await provider.find({})
    async with controlled(phones.farm, socket):
        await provider.create(asked)
        assert await provider.find({}) == await phones.provider.find({})
        assert await provider.volumes({}) == await phones.provider.volumes({})
        assert await provider.inspect(asked.name) == await phones.provider.inspect(asked.name)
        assert await provider.inspect("none") is None
