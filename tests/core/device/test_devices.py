"""Devices: what can be done to them, and what the answers name."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from cloudphone_core.device.migrations import __path__ as migrations
from cloudphone_core.device.models import Base
from cloudphone_shared.database import History, differences
from tests.conditions import eventually
from tests.core.device.conftest import Users, World

pytestmark = pytest.mark.anyio


async def outbox(world: World, device_id: str) -> list[tuple[str, dict[str, Any]]]:
    async with world.database.reading() as session:
        rows = await session.execute(
            sa.text("SELECT type, payload FROM device.outbox WHERE payload ->> 'deviceId' = :id ORDER BY id"),
            {"id": device_id},
        )
        return [(kind, payload) for kind, payload in rows]


async def test_the_migrated_schema_is_what_the_models_say(url: str) -> None:
    assert migrations
    assert await differences(url, History.of("device"), Base.metadata) == []


async def test_a_created_device_is_idle_and_both_its_states_are_logged_and_announced(world: World) -> None:
    template = await world.template()
    answer = await world.ask("POST", "/v1/devices", {"name": "Pixel", "templateId": template["id"], "tags": ["a", "a"]})

    assert answer.status_code == 201
    device, entities = answer.json()["data"], answer.json()["entities"]
    assert (device["state"], device["tags"], device["tenantId"]) == ("idle", ["a"], str(world.tenant))
    assert answer.headers["location"] == f"/v1/devices/{device['id']}"
    assert answer.headers["etag"] == f'"v{device["version"]}"'
    assert entities == {f"device:{device['id']}": device["version"], f"template:{template['id']}": template["version"]}
    log = (await world.ask("GET", f"/v1/devices/{device['id']}/history")).json()["data"]
    assert [(one["fromState"], one["toState"]) for one in log] == [("creating", "idle"), (None, "creating")]
    assert [kind for kind, _ in await outbox(world, device["id"])] == ["device.created", "device.status.changed"]


async def test_an_assigned_device_carries_the_owner_as_the_user_service_knows_them(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    device = await world.device()

    answer = await world.ask("POST", f"/v1/devices/{device['id']}/assign", {"ownerId": ana.id})

    assigned = answer.json()["data"]
    assert (assigned["state"], assigned["ownerId"]) == ("allocated", str(ana.id))
    assert (assigned["ownerName"], assigned["ownerEmail"]) == ("Ana", "ana@example.com")
    assert answer.json()["entities"][f"devices-of:{ana.id}"] > 0
    held = (await world.ask("GET", f"/v1/users/{ana.id}/devices")).json()
    assert held["data"] == [device["id"]]
    assert held["entities"] == {f"devices-of:{ana.id}": answer.json()["entities"][f"devices-of:{ana.id}"]}


async def test_an_unassigned_device_is_cleaned_and_idle_in_one_step_of_two_transitions(
    world: World, users: Users
) -> None:
    ana = users.user(world.tenant)
    device = await world.device(owner=ana)

    answer = await world.ask("POST", f"/v1/devices/{device['id']}/unassign")

    freed = answer.json()["data"]
    assert (freed["state"], freed["ownerId"], freed["ownerName"], freed["ownerEmail"]) == ("idle", None, None, None)
    assert f"devices-of:{ana.id}" in answer.json()["entities"]
    log = (await world.ask("GET", f"/v1/devices/{device['id']}/history")).json()["data"]
    assert [one["toState"] for one in log[:2]] == ["idle", "cleaning"]
    moves = [
        (told["oldStatus"], told["newStatus"])
        for kind, told in await outbox(world, device["id"])
        if kind == "device.status.changed"
    ]
    assert moves[-2:] == [("allocated", "cleaning"), ("cleaning", "idle")]
    updated = [told for kind, told in await outbox(world, device["id"]) if kind == "device.updated"][-1]
    assert (updated["userId"], updated["previousUserId"]) == (None, str(ana.id))
    assert (await world.ask("GET", f"/v1/users/{ana.id}/devices")).json()["data"] == []


async def test_a_deleted_device_leaves_a_tombstone_whose_version_every_404_names(world: World, users: Users) -> None:
    device = await world.device(owner=users.user(world.tenant))
    path = f"/v1/devices/{device['id']}"

    gone = await world.ask("DELETE", path)

    assert gone.status_code == 200
    assert gone.json()["data"] is None
    entity = f"device:{device['id']}"
    assert gone.json()["entities"][entity] > device["version"]
    for answer in (await world.ask("GET", path), await world.ask("DELETE", path), await world.ask("PATCH", path, {})):
        assert answer.status_code == 404
        assert answer.json()["entities"] == {entity: gone.json()["entities"][entity]}
    assert [kind for kind, _ in await outbox(world, device["id"])][-1] == "device.deleted"


async def test_a_device_in_maintenance_is_given_to_nobody_until_it_is_idle_again(world: World, users: Users) -> None:
    ana = users.user(world.tenant)
    device = await world.device()
    path = f"/v1/devices/{device['id']}"

    assert (await world.ask("POST", f"{path}/maintenance")).json()["data"]["state"] == "maintenance"
    refused = await world.ask("POST", f"{path}/assign", {"ownerId": ana.id})
    assert refused.status_code == 409
    assert refused.json()["code"] == "state-conflict"
    assert (refused.json()["current_state"], refused.json()["allowed"]) == ("maintenance", ["deleting", "idle"])
    assert (await world.ask("POST", f"{path}/idle")).json()["data"]["state"] == "idle"
    assert (await world.ask("POST", f"{path}/idle")).status_code == 409


async def test_only_an_active_user_of_the_devices_tenant_can_hold_it(world: World, users: Users) -> None:
    device = await world.device()
    path = f"/v1/devices/{device['id']}/assign"
    stranger, suspended = users.user(users.tenant()), users.user(world.tenant, status="suspended")

    for owner_id in (stranger.id, suspended.id, world.tenant):
        assert (await world.ask("POST", path, {"ownerId": owner_id})).status_code == 400
    assert (await world.get(device["id"]))["state"] == "idle"


async def test_nothing_is_assigned_while_the_user_service_is_away(world: World, users: Users) -> None:
    ana = users.user(world.tenant)
    device = await world.device()
    users.away = True

    answer = await world.ask("POST", f"/v1/devices/{device['id']}/assign", {"ownerId": ana.id})

    assert answer.status_code == 503
    assert answer.json()["service"] == "user"


async def test_of_two_who_assign_one_device_at_once_one_wins(world: World, users: Users) -> None:
    device = await world.device()
    owners = [users.user(world.tenant, f"U{n}") for n in range(4)]

    async with world.database.writing() as session:
        await session.execute(
            sa.text("SELECT FROM device.devices WHERE id = CAST(:id AS uuid) FOR UPDATE"), {"id": device["id"]}
        )
        asked = [
            asyncio.create_task(world.ask("POST", f"/v1/devices/{device['id']}/assign", {"ownerId": owner.id}))
            for owner in owners
        ]
        await eventually(lambda: waiting_for_a_lock(world, len(owners)))
    answers = await asyncio.gather(*asked)

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    winner = next(answer.json()["data"] for answer in answers if answer.status_code == 200)
    assert (await world.get(device["id"]))["ownerId"] == winner["ownerId"]


async def waiting_for_a_lock(world: World, number: int) -> bool:
    async with world.database.reading() as session:
        waiting = await session.execute(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
        return waiting.scalar_one() == number


async def test_a_write_on_an_older_version_is_refused(world: World) -> None:
    device = await world.device()
    path = f"/v1/devices/{device['id']}"
    first = await world.ask("GET", path)

    renamed = await world.ask("PATCH", path, {"name": "New"}, if_match=first.headers["etag"])
    late = await world.ask("PATCH", path, {"name": "Other"}, if_match=first.headers["etag"])
    malformed = await world.ask("PATCH", path, {"name": "Other"}, if_match="7")

    assert renamed.status_code == 200
    assert renamed.json()["data"]["version"] > device["version"]
    assert (late.status_code, malformed.status_code) == (412, 400)
    assert late.json()["current"] == renamed.headers["etag"]
    for act in ("unassign", "maintenance"):
        assert (await world.ask("POST", f"{path}/{act}", if_match=first.headers["etag"])).status_code == 412
    assert (await world.ask("DELETE", path, if_match=first.headers["etag"])).status_code == 412


async def test_a_patch_that_changes_nothing_is_announced_to_nobody(world: World) -> None:
    device = await world.device("Same", tags=["x"])
    before = await outbox(world, device["id"])

    answer = await world.ask("PATCH", f"/v1/devices/{device['id']}", {"name": "Same", "tags": ["x"]})

    assert answer.json()["data"]["version"] == device["version"]
    assert await outbox(world, device["id"]) == before


async def test_the_same_create_sent_twice_makes_one_device(world: World) -> None:
    template = await world.template()
    wanted = {"name": "Once", "templateId": template["id"]}

    first = await world.ask("POST", "/v1/devices", wanted, idempotency_key="k-1")
    again = await world.ask("POST", "/v1/devices", wanted, idempotency_key="k-1")
    other = await world.ask("POST", "/v1/devices", {**wanted, "name": "Twice"}, idempotency_key="k-1")

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]


async def test_an_answer_names_every_entity_it_shows_with_the_version_of_its_snapshot(world: World) -> None:
    node = await world.node()
    device = await world.device(node=node)

    answer = (await world.ask("GET", f"/v1/devices/{device['id']}")).json()

    data, named = answer["data"], answer["entities"]
    assert set(named) == {f"device:{device['id']}", f"node:{node['id']}", f"template:{data['template']['id']}"}
    assert named[f"device:{device['id']}"] == data["version"]
    renamed = await world.ask("PATCH", f"/v1/nodes/{node['id']}", {"name": node["name"] + "!"})
    after = (await world.ask("GET", f"/v1/devices/{device['id']}")).json()
    assert after["data"]["node"]["name"] == node["name"] + "!"
    assert after["entities"][f"node:{node['id']}"] == renamed.json()["data"]["version"] > named[f"node:{node['id']}"]


async def test_cards_depend_on_the_device_alone_and_absent_ones_are_named(world: World, users: Users) -> None:
    device = await world.device(node=await world.node())
    gone = await world.device()
    deleted = (await world.ask("DELETE", f"/v1/devices/{gone['id']}")).json()["entities"]
    never = str(world.tenant)

    path = f"/v1/devices/batch?ids={device['id']},{gone['id']},{never},{device['id']}"
    answer = (await world.ask("GET", path)).json()

    assert answer["entities"] == {}
    assert list(answer["data"]["found"]) == [device["id"]]
    card = answer["data"]["found"][device["id"]]
    assert card["entities"] == {f"device:{device['id']}": card["data"]["version"]}
    assert answer["data"]["absent"] == {
        gone["id"]: {f"device:{gone['id']}": deleted[f"device:{gone['id']}"]},
        never: {f"device:{never}": 0},
    }


async def test_statistics_count_what_the_caller_sees(world: World, users: Users) -> None:
    tenant = users.tenant()
    ana = users.user(tenant)
    await world.device(owner=ana)
    await world.device(tenant=tenant)

    by = world.signer.headers(role="support", tenant=tenant)
    assert (await world.ask("GET", "/v1/devices/statistics", by=by)).json()["data"] == {
        "total": 2,
        "assigned": 1,
        "byState": {"allocated": 1, "idle": 1},
    }
    own = (await world.ask("GET", "/v1/devices/statistics", by=world.customer(ana))).json()["data"]
    assert own["total"] == 1


async def test_a_device_is_of_the_platforms_provider_and_of_no_other(world: World) -> None:
    made = await world.device()
    assert made["provider"] == "simulated"
    other = {"name": "Phone", "templateId": made["template"]["id"], "provider": "docker"}
    refused = await world.ask("POST", "/v1/devices", other)
    assert refused.status_code == 400, refused.text
    assert "docker" in refused.json()["detail"]
