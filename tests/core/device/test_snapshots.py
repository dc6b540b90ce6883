"""A snapshot is a copy of the stopped volume: taken, checked, put back, thrown away."""

from collections.abc import Mapping

import pytest

from cloudphone_core.device.providers.port import Copied, ProviderRefused
from cloudphone_core.device.providers.simulated import SimulatedProvider
from tests.core.device.conftest import World
from tests.core.device.living import Life
from tests.core.device.phones import Phones

pytestmark = pytest.mark.anyio


@pytest.fixture
def life(world: World, phones: Phones) -> Life:
    return Life(world, phones)


async def stopped_with(life: Life, word: str) -> str:
    """A stopped device with this word on its phone."""
    device_id = await life.held()
    await life.done(device_id, "start")
    await life.mark(device_id, word)
    await life.done(device_id, "stop")
    return device_id


async def snapshots(life: Life, device_id: str) -> list[dict[str, object]]:
    answer = await life.world.ask("GET", f"/v1/devices/{device_id}/snapshots")
    assert set(answer.json()["entities"]) == {f"device:{device_id}", f"snapshots:{device_id}"}
    return answer.json()["data"]


async def test_what_was_on_the_phone_comes_back_until_the_snapshot_is_thrown_away(life: Life) -> None:
    async with life.working():
        device_id = await stopped_with(life, "before")
        taken = await life.asked(device_id, "snapshots", {"name": "Before the update"})
        [making] = await snapshots(life, device_id)
        assert making["id"] == taken["result"]["snapshotId"]
        taken = await life.ended(taken)
        [snapshot] = await snapshots(life, device_id)
        assert (snapshot["state"], snapshot["name"]) == ("ready", "Before the update")
        assert taken["result"] == {key: snapshot[key] for key in ("size", "sha256")} | {"snapshotId": snapshot["id"]}
        [told] = await life.announced(device_id, "snapshot.ready")
        assert told["sha256"] == snapshot["sha256"]

        await life.done(device_id, "start")
        await life.mark(device_id, "after")
        refused = await life.world.ask("POST", f"/v1/devices/{device_id}/restore", {"snapshotId": snapshot["id"]})
        assert refused.status_code == 409
        assert refused.json()["current_state"] == "running"
        await life.done(device_id, "stop")
        await life.done(device_id, "restore", {"snapshotId": snapshot["id"]})
        await life.done(device_id, "start")
        assert await life.marked(device_id) == "before"
        await life.done(device_id, "stop")

        other = await life.held()
        foreign = await life.world.ask("POST", f"/v1/devices/{other}/restore", {"snapshotId": snapshot["id"]})
        assert foreign.status_code == 409
        stranger = life.world.customer(life.world.users.user(life.world.tenant, "Eve"))
        path = f"/v1/snapshots/{snapshot['id']}"
        for method in ("GET", "DELETE"):
            assert (await life.world.ask(method, path, by=stranger)).status_code == 404
        gone = await life.world.ask("DELETE", path)
        assert gone.status_code == 202
        assert (await life.ended(gone.json()["data"]))["state"] == "succeeded"
        assert await snapshots(life, device_id) == []
        assert (await life.world.ask("GET", path)).status_code == 404
    volumes = [volume.name for volume in await life.phones.provider.volumes({})]
    assert volumes == [(await life.row(device_id)).volume_name]


class FullDisk(SimulatedProvider):
    """Its disk is full half-way through every copy."""

    async def copy_volume(self, source: str, target: str, labels: Mapping[str, str]) -> Copied:
        await super().copy_volume(source, target, labels)
        raise ProviderRefused("no-space", "The disk is full")


async def test_a_full_disk_fails_the_snapshot_and_leaves_device_and_disk_as_they_were(life: Life) -> None:
    async with life.working():
        device_id = await stopped_with(life, "kept")
        before = await life.phones.provider.volumes({})
    provider = FullDisk(life.phones.farm, boot_seconds=0.0)
    async with Life(life.world, life.phones._replace(provider=provider)).working():
        ended = await life.ended(await life.asked(device_id, "snapshots", {"name": "Too much"}))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "no-space")
    [snapshot] = await snapshots(life, device_id)
    assert (snapshot["state"], snapshot["failure"]) == ("failed", "The disk is full")
    device = await life.world.get(device_id)
    assert (device["state"], device["lastError"]) == ("stopped", "snapshot: The disk is full")
    assert await life.phones.provider.volumes({}) == before


async def test_a_snapshot_that_is_no_longer_what_it_was_is_not_put_back(life: Life) -> None:
    async with life.working():
        device_id = await stopped_with(life, "mine")
        taken = await life.done(device_id, "snapshots", {"name": "Good"})
        snapshot_id = taken["result"]["snapshotId"]
        await life.rows("UPDATE device.device_snapshots SET sha256 = 'other' WHERE id = :id", id=snapshot_id)
        ended = await life.ended(await life.asked(device_id, "restore", {"snapshotId": snapshot_id}))
        assert (ended["state"], ended["error"]["code"]) == ("failed", "snapshot-damaged")
        assert [one["state"] for one in await snapshots(life, device_id)] == ["failed"]
        await life.done(device_id, "start")
        assert await life.marked(device_id) == "mine"
