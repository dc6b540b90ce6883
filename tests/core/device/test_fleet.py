"""Nodes and templates: made and changed by who sees all tenants, kept while they are used."""

from typing import Any

import pytest

from tests.core.device.conftest import Users, World

pytestmark = pytest.mark.anyio

NODE: dict[str, Any] = {"name": "n", "region": "eu", "capacity": 2}
TEMPLATE: dict[str, Any] = {"name": "t", "androidVersion": "14", "cpuCores": 2, "memoryMib": 2048, "storageGib": 16}


async def test_a_node_is_made_listed_changed_and_deleted(world: World) -> None:
    made = await world.ask("POST", "/v1/nodes", {**NODE, "name": "alpha", "labels": {"rack": "7"}})
    node = made.json()["data"]
    path = f"/v1/nodes/{node['id']}"

    assert (made.status_code, made.headers["location"], node["status"]) == (201, path, "online")
    assert made.json()["entities"].keys() == {f"node:{node['id']}", "nodes:all"}
    assert made.json()["entities"][f"node:{node['id']}"] == node["version"]
    changed = await world.ask("PATCH", path, {"status": "draining", "capacity": 5}, if_match=made.headers["etag"])
    assert (changed.json()["data"]["status"], changed.json()["data"]["capacity"]) == ("draining", 5)
    assert (await world.ask("PATCH", path, {"capacity": 6}, if_match=made.headers["etag"])).status_code == 412
    assert (await world.ask("GET", path)).json()["data"] == changed.json()["data"]
    listed = (await world.ask("GET", "/v1/nodes?search=alpha")).json()
    assert listed["data"]["items"] == [changed.json()["data"]]
    assert listed["entities"][f"node:{node['id']}"] == changed.json()["data"]["version"]
    gone = await world.ask("DELETE", path)
    assert gone.json()["data"] is None
    [(entity, tombstone)] = (await world.ask("GET", path)).json()["entities"].items()
    assert gone.json()["entities"][entity] == tombstone
    assert (await world.ask("POST", "/v1/nodes", {**NODE, "name": "alpha"})).status_code == 201


async def test_a_template_is_made_listed_changed_and_deleted(world: World) -> None:
    made = await world.ask("POST", "/v1/templates", {**TEMPLATE, "name": "small"})
    template = made.json()["data"]
    path = f"/v1/templates/{template['id']}"

    assert (made.status_code, made.headers["location"]) == (201, path)
    changed = await world.ask("PATCH", path, {"cpuCores": 3}, if_match=made.headers["etag"])
    assert changed.json()["data"]["cpuCores"] == 3
    assert (await world.ask("GET", path)).json()["data"] == changed.json()["data"]
    listed = (await world.ask("GET", "/v1/templates?search=small")).json()["data"]["items"]
    assert listed == [changed.json()["data"]]
    assert (await world.ask("DELETE", path)).status_code == 200
    assert (await world.ask("GET", path)).status_code == 404


async def test_two_things_of_one_name_do_not_stand_side_by_side(world: World) -> None:
    await world.node(name="twin")
    second = await world.node()

    assert (await world.ask("POST", "/v1/nodes", {**NODE, "name": "twin"})).json()["code"] == "already-exists"
    assert (await world.ask("PATCH", f"/v1/nodes/{second['id']}", {"name": "twin"})).status_code == 409
    await world.ask("POST", "/v1/templates", {**TEMPLATE, "name": "twin"})
    assert (await world.ask("POST", "/v1/templates", {**TEMPLATE, "name": "twin"})).status_code == 409


async def test_what_is_used_is_not_deleted(world: World) -> None:
    node = await world.node()
    device = await world.device(node=node)
    paths = [f"/v1/nodes/{node['id']}", f"/v1/templates/{device['template']['id']}"]

    assert [(await world.ask("DELETE", path)).status_code for path in paths] == [409, 409]
    await world.ask("DELETE", f"/v1/devices/{device['id']}")
    assert [(await world.ask("DELETE", path)).status_code for path in paths] == [200, 200]


async def test_a_node_that_is_full_or_not_online_takes_no_device(world: World) -> None:
    full, draining = await world.node(capacity=1), await world.node()
    await world.device(node=full)
    await world.ask("PATCH", f"/v1/nodes/{draining['id']}", {"status": "draining"})
    template = await world.template()

    for node in (full, draining):
        wanted = {"name": "Phone", "templateId": template["id"], "nodeId": node["id"]}
        assert (await world.ask("POST", "/v1/devices", wanted)).status_code == 409


@pytest.mark.parametrize("role", ["operator", "support", "customer"])
async def test_who_does_not_see_all_tenants_changes_nothing_here(world: World, role: str, users: Users) -> None:
    node, template = await world.node(), await world.template()
    by = world.signer.headers(role=role, tenant=world.tenant)

    for path, wanted in (("/v1/nodes", NODE), ("/v1/templates", TEMPLATE)):
        assert (await world.ask("POST", path, wanted, by=by)).status_code == 403
    for path in (f"/v1/nodes/{node['id']}", f"/v1/templates/{template['id']}"):
        assert (await world.ask("PATCH", path, {"name": "x"}, by=by)).status_code == 403
        assert (await world.ask("DELETE", path, by=by)).status_code == 403
    assert (await world.ask("GET", "/v1/templates", by=by)).status_code == 200
