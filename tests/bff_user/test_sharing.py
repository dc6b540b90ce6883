"""A device shared for a time: seen by whom it is shared with, and by nobody once that is over."""

import uuid
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from cloudphone_core.device.models import GrantRow
from tests.browser import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio


class Scene(NamedTuple):
    """Ana holds the device; Ben is of the same tenant."""

    device: dict[str, Any]
    ana: dict[str, str]
    ben: dict[str, str]
    email: str
    ben_id: str

    @property
    def grants(self) -> str:
        return f"/my/devices/{self.device['id']}/grants"

    @property
    def shared(self) -> str:
        return f"/my/shared-devices/{self.device['id']}"


@pytest.fixture
async def scene(services: Services) -> Scene:
    tenant = await services.tenant()
    ana, ben = await services.user("Ana", tenant=tenant), await services.user("Ben", tenant=tenant)
    device = await services.device("Pixel", owner=ana)
    by = [await services.signed_in(each["email"]) for each in (ana, ben)]
    return Scene(device, by[0], by[1], ben["email"], ben["id"])


async def share(portal: Console, scene: Scene, **wanted: object) -> dict[str, Any]:
    body = {"email": scene.email, "seconds": 3600, **wanted}
    made = await portal.ask("POST", scene.grants, body, by=scene.ana)
    assert made.status_code == 201, made.text
    return made.json()


async def test_a_device_is_seen_by_whom_it_is_shared_with_and_no_longer_once_that_was_revoked(
    portal: Console, services: Services, scene: Scene
) -> None:
    assert (await portal.get(scene.shared, by=scene.ben)).status_code == 404
    grant = await share(portal, scene, email=scene.email.upper())
    assert (grant["sharedWith"], grant["access"]) == ("Ben", "view")
    # Ben's own process hears of it by the feed.
    await eventually(lambda: _sees(portal, scene))
    seen = await portal.get(scene.shared, by=scene.ben)
    assert "hit" in seen.headers["Cache-Status"] or seen.json()["device"]["name"] == "Pixel"
    assert [each["deviceId"] for each in await portal.seen("/my/shared-devices", by=scene.ben)] == [scene.device["id"]]
    assert (await portal.get(f"/my/devices/{scene.device['id']}", by=scene.ben)).status_code == 404
    assert (await portal.get(scene.shared, by=scene.ana)).status_code == 404
    services.bus.held.clear()
    try:
        gone = await portal.ask("DELETE", f"/my/grants/{grant['id']}", by=scene.ana)
        assert gone.status_code == 204
        token = {"fresh_after": gone.headers["Fresh-After"]}
        assert (await portal.get(scene.shared, by=scene.ben, **token)).status_code == 404
    finally:
        services.bus.held.set()
    assert (await portal.get(scene.shared, by=scene.ben)).status_code == 404
    assert await portal.seen("/my/shared-devices", by=scene.ben) == []
    assert await portal.seen(scene.grants, by=scene.ana) == []


async def _sees(portal: Console, scene: Scene) -> bool:
    return (await portal.get(scene.shared, by=scene.ben)).status_code == 200


async def test_a_grant_that_ran_out_shows_nothing_more_even_from_the_cache_and_with_its_service_away(
    portal: Console, services: Services, scene: Scene
) -> None:
    await share(portal, scene)
    await eventually(lambda: _sees(portal, scene))
    # What was given a moment ago is shown as it was; only its end is nearer than it was to be.
    async with services.databases["device"].writing() as session:
        ends = sa.func.clock_timestamp() + sa.text("interval '1.5 seconds'")
        await session.execute(
            sa.update(GrantRow).where(GrantRow.device_id == uuid.UUID(scene.device["id"])).values(until=ends)
        )
    view = portal.cache.views["my:shared"]
    await portal.cache.drop(view, {"device_id": scene.device["id"], "user_id": scene.ben_id})
    assert await _sees(portal, scene)
    services.wires["device"].cut = True
    try:
        await eventually(lambda: _ended(portal, scene, 503))
    finally:
        services.wires["device"].cut = False
    await eventually(lambda: _ended(portal, scene, 404))
    assert await portal.seen(scene.grants, by=scene.ana) == []
    await share(portal, scene)


async def _ended(portal: Console, scene: Scene, status: int) -> bool:
    return (await portal.get(scene.shared, by=scene.ben)).status_code == status


async def test_a_device_that_is_taken_from_its_holder_is_shared_with_nobody(
    portal: Console, console: Console, services: Services, scene: Scene
) -> None:
    await share(portal, scene)
    await eventually(lambda: _sees(portal, scene))
    taken = await console.ask("POST", f"/admin/devices/{scene.device['id']}/unassign")
    assert taken.status_code == 200, taken.text
    await eventually(lambda: _ended(portal, scene, 404))
    # Not even once it is the same holder's again.
    back = {"ownerId": scene.device["ownerId"]}
    await services.ask("POST", "device", f"/v1/devices/{scene.device['id']}/assign", back)
    assert await portal.seen(scene.grants, by=scene.ana) == []
    assert await portal.seen("/my/shared-devices", by=scene.ben) == []
    assert (await portal.get(scene.shared, by=scene.ben)).status_code == 404


async def test_a_device_is_shared_by_its_holder_once_per_user_within_the_organisation(
    portal: Console, console: Console, services: Services, scene: Scene
) -> None:
    stranger = await services.user("Eve", tenant=await services.tenant())
    eve = await services.signed_in(stranger["email"])
    body = {"email": scene.email, "seconds": 3600}
    assert (await portal.ask("POST", scene.grants, body, by=eve)).status_code == 404
    assert (await portal.get(scene.grants, by=eve)).status_code == 404
    assert (await portal.ask("POST", scene.grants, body, by=services.root)).status_code == 403
    for wrong in (
        {"email": stranger["email"]}, {"email": "nobody@example.com"}, {"email": "no address"},
        {"seconds": 31 * 86_400}, {"seconds": 1}, {"access": "shell"}, {"userId": scene.ben_id},
    ):  # fmt: skip
        refused = await portal.ask("POST", scene.grants, body | wrong, by=scene.ana)
        assert refused.status_code == 400, (wrong, refused.text)
    grant = await share(portal, scene, access="control")
    assert (await portal.ask("POST", scene.grants, body, by=scene.ana)).json()["code"] == "already-exists"
    assert (await portal.ask("DELETE", f"/my/grants/{grant['id']}", by=eve)).status_code == 404
    [told] = await console.seen(f"/admin/devices/{scene.device['id']}/grants")
    assert (told["userId"], told["access"]) == (scene.ben_id, "control")
    # Whoever was given it may give it back.
    assert (await portal.ask("DELETE", f"/my/grants/{grant['id']}", by=scene.ben)).status_code == 204
    await share(portal, scene)
