"""Who may see and do what: tenants, customers, staff, services."""

from typing import Any

import pytest

from cloudphone_core.device.lifecycle.routes import LIFECYCLE_ROUTES
from cloudphone_core.device.lifecycle.snapshot_routes import SNAPSHOT_ROUTES
from cloudphone_core.device.routes import DEVICE_ROUTES
from tests.core.device.conftest import Users, World

pytestmark = pytest.mark.anyio

ONE_DEVICE: dict[tuple[str, str], Any] = {
    ("GET", ""): None,
    ("PATCH", ""): {"name": "Mine"},
    ("DELETE", ""): None,
    ("POST", "/assign"): {"ownerId": "OWNER"},
    ("POST", "/unassign"): None,
    ("POST", "/maintenance"): None,
    ("POST", "/idle"): None,
    ("GET", "/history"): None,
    ("POST", "/start"): {"force": True},
    ("POST", "/stop"): None,
    ("POST", "/reboot"): None,
    ("POST", "/reset"): None,
    ("POST", "/clean"): None,
    ("POST", "/freeze"): None,
    ("POST", "/unfreeze"): None,
    ("GET", "/operations"): None,
    ("GET", "/snapshots"): None,
    ("POST", "/snapshots"): {"name": "Before"},
    ("POST", "/restore"): {"snapshotId": "01900000-0000-7000-8000-000000000000"},
}
"""Every endpoint of one device, with a body that it would accept."""


def test_no_endpoint_of_one_device_is_missing_here() -> None:
    served: set[tuple[str, str]] = set()
    for route in (*DEVICE_ROUTES, *LIFECYCLE_ROUTES, *SNAPSHOT_ROUTES):
        for path in route.paths:
            if path.startswith("/v1/devices/{device_id:uuid}"):
                served |= {(method, path.removeprefix("/v1/devices/{device_id:uuid}")) for method in route.http_methods}
    assert {(method, path) for method, path in served if method != "OPTIONS"} == set(ONE_DEVICE)


@pytest.mark.parametrize(("method", "path"), list(ONE_DEVICE))
async def test_a_foreign_tenants_device_is_as_absent_as_none(
    world: World, users: Users, method: str, path: str
) -> None:
    device = await world.device(owner=users.user(world.tenant))
    foreign = world.signer.headers(role="admin", scope="tenant", tenant=users.tenant())
    body = ONE_DEVICE[method, path]
    if body and "ownerId" in body:
        body = {"ownerId": users.user(world.tenant).id}

    refused = await world.ask(method, f"/v1/devices/{device['id']}{path}", body, by=foreign)
    absent = await world.ask(method, f"/v1/devices/{world.tenant}{path}", body, by=foreign)

    assert refused.status_code == absent.status_code == 404
    assert refused.json()["entities"] == {f"device:{device['id']}": device["version"]}
    assert absent.json()["entities"] == {f"device:{world.tenant}": 0}
    assert {**refused.json(), "entities": 0, "requestId": 0} == {**absent.json(), "entities": 0, "requestId": 0}
    assert (await world.get(device["id"]))["version"] == device["version"]


async def test_lists_batches_and_counts_hold_nothing_of_a_foreign_tenant(world: World, users: Users) -> None:
    ana = users.user(world.tenant)
    device = await world.device(owner=ana)
    foreign = world.signer.headers(role="operator", tenant=users.tenant())

    async def data(path: str) -> Any:
        answer = await world.ask("GET", path, by=foreign)
        assert answer.status_code == 200
        return answer.json()["data"]

    assert (await data("/v1/devices"))["items"] == []
    assert (await data(f"/v1/devices?tenantId={world.tenant}"))["items"] == []
    assert (await data(f"/v1/devices?ownerId={ana.id}&search=Phone"))["items"] == []
    assert list((await data(f"/v1/devices/batch?ids={device['id']}"))["absent"]) == [device["id"]]
    assert (await data("/v1/devices/statistics"))["total"] == 0
    assert await data(f"/v1/users/{ana.id}/devices") == []


async def test_nobody_makes_a_device_for_a_foreign_tenant_but_who_sees_them_all(world: World, users: Users) -> None:
    template = await world.template()
    other = users.tenant()
    wanted = {"name": "Phone", "templateId": template["id"], "tenantId": other}

    assert (await world.ask("POST", "/v1/devices", wanted, by=world.operator)).status_code == 403
    assert (await world.ask("POST", "/v1/devices", wanted)).json()["data"]["tenantId"] == str(other)
    unknown = await world.ask("POST", "/v1/devices", {**wanted, "tenantId": template["id"]})
    assert unknown.status_code == 400
    assert unknown.json()["errors"][0]["field"] == "tenantId"


async def test_a_customer_sees_and_renames_own_devices_only(world: World, users: Users) -> None:
    ana, bob = users.user(world.tenant, "Ana"), users.user(world.tenant, "Bob")
    own, other = await world.device(owner=ana), await world.device(owner=bob)
    by = world.customer(ana)

    assert (await world.ask("GET", "/v1/devices", by=by)).json()["data"]["items"] == [own["id"]]
    renamed = await world.ask("PATCH", f"/v1/devices/{own['id']}", {"name": "Mine", "tags": ["home"]}, by=by)
    assert (renamed.json()["data"]["name"], renamed.json()["data"]["tags"]) == ("Mine", ["home"])
    for method, body in (("GET", None), ("PATCH", {"name": "Mine"})):
        assert (await world.ask(method, f"/v1/devices/{other['id']}", body, by=by)).status_code == 404
    assert (await world.ask("GET", f"/v1/users/{ana.id}/devices", by=by)).json()["data"] == [own["id"]]
    assert (await world.ask("GET", f"/v1/users/{bob.id}/devices", by=by)).status_code == 404


_WRITTEN = {
    ("PATCH", ""),
    *(("POST", f"/{kind}") for kind in ("start", "stop", "reboot", "reset", "snapshots", "restore")),
}
"""What a customer may do with a device of his own."""


@pytest.mark.parametrize(("method", "path"), [one for one in ONE_DEVICE if one[0] != "GET" and one not in _WRITTEN])
async def test_a_customer_manages_nothing(world: World, users: Users, method: str, path: str) -> None:
    ana = users.user(world.tenant)
    device = await world.device(owner=ana)
    body = {"ownerId": ana.id} if path == "/assign" else None

    answer = await world.ask(method, f"/v1/devices/{device['id']}{path}", body, by=world.customer(ana))

    assert answer.status_code == 403
    assert (await world.get(device["id"]))["version"] == device["version"]


async def test_support_renames_but_does_not_manage(world: World) -> None:
    device = await world.device()
    support = world.signer.headers(role="support", tenant=world.tenant)

    assert (await world.ask("PATCH", f"/v1/devices/{device['id']}", {"name": "A"}, by=support)).status_code == 200
    assert (await world.ask("DELETE", f"/v1/devices/{device['id']}", by=support)).status_code == 403


async def test_where_a_device_stands_is_told_to_staff_and_services_but_no_customer(world: World, users: Users) -> None:
    ana, node = users.user(world.tenant), await world.node()
    device = await world.device(node=node, owner=ana)
    path, customer = f"/v1/devices/{device['id']}", world.customer(ana)

    for by in (world.admin, world.operator, world.service):
        assert (await world.get(device["id"], by=by))["node"]["name"] == node["name"]
    seen = (await world.ask("GET", path, by=customer)).json()
    assert (seen["data"]["node"], seen["data"]["adbHost"], seen["data"]["adbPort"]) == (None, None, None)
    assert f"node:{node['id']}" not in seen["entities"]
    renamed = (await world.ask("PATCH", path, {"name": "Mine"}, by=customer)).json()
    assert renamed["data"]["node"] is None
    assert node["id"] not in str(renamed)
    card = (await world.ask("GET", f"/v1/devices/batch?ids={device['id']}", by=customer)).json()["data"]["found"]
    assert card[device["id"]]["data"]["nodeId"] is None
    for hidden in (f"/v1/devices?nodeId={node['id']}", "/v1/nodes", f"/v1/nodes/{node['id']}"):
        assert (await world.ask("GET", hidden, by=customer)).status_code == 403


async def test_services_read_and_write_nothing(world: World) -> None:
    device = await world.device()

    assert (await world.ask("GET", f"/v1/devices/{device['id']}", by=world.service)).status_code == 200
    assert (await world.ask("DELETE", f"/v1/devices/{device['id']}", by=world.service)).status_code == 403
    assert (await world.ask("GET", "/internal/changes", by=world.service)).status_code == 403
    assert (await world.ask("GET", "/internal/changes", by=world.signer.service("cache-worker"))).status_code == 200


async def test_without_a_token_there_is_nothing(world: World) -> None:
    assert (await world.http.get("/v1/devices")).status_code == 401
    assert (await world.http.get("/health/ready")).status_code == 200
