"""Writes go to one service with the caller's token, and come back with what the next read must show."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.bff_admin.conftest import Console
from tests.in_process import PASSWORD, Services

pytestmark = pytest.mark.anyio


async def written(console: Console, method: str, path: str, body: object = None, **headers: str) -> Any:
    answer = await console.ask(method, path, body, **headers)
    assert answer.is_success, answer.text
    assert answer.headers["Fresh-After"]
    return answer.json() if answer.content else None


async def template(console: Console) -> Any:
    body = {
        "name": f"t {uuid.uuid4().hex}", "androidVersion": "14", "cpuCores": 4, "memoryMib": 4096, "storageGib": 32,
    }  # fmt: skip
    return await written(console, "POST", "/admin/templates", body)


async def test_a_device_lives_through_the_console(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    made = await console.ask("POST", "/admin/devices", {"name": "Pixel", "templateId": (await template(console))["id"]})
    assert made.status_code == 201, made.text
    path = made.headers["Location"]
    assert path == f"/admin/devices/{made.json()['id']}"
    assert made.headers["ETag"] == f'"v{made.json()["version"]}"'

    await written(console, "PATCH", path, {"name": "Nexus", "tags": ["lab"]})
    assert (await console.seen(path))["device"]["tags"] == ["lab"]
    await written(console, "POST", f"{path}/assign", {"ownerId": ana["id"]})
    assert (await console.seen(path))["owner"]["name"] == "Ana"
    await written(console, "POST", f"{path}/unassign")
    assert (await console.seen(path))["owner"] is None
    history = await console.seen(f"{path}/history")
    assert history[0]["toState"] == "idle"
    await written(console, "DELETE", path)
    assert (await console.get(path)).status_code == 404


async def test_a_user_lives_through_the_console(console: Console, services: Services) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    user = await written(console, "POST", "/admin/users", {"name": "Ana", "email": email, "password": PASSWORD})
    path = f"/admin/users/{user['id']}"
    assert (await console.seen(path))["user"]["name"] == "Ana"
    await written(console, "PATCH", path, {"name": "Anna"})
    assert (await console.seen(path))["user"]["name"] == "Anna"
    await written(console, "POST", f"{path}/suspend", {"reason": "unpaid"})
    assert (await console.seen(path))["user"]["status"] == "suspended"
    await written(console, "POST", f"{path}/reinstate")
    assert (await console.seen(path))["user"]["status"] == "active"
    await written(console, "DELETE", path)
    assert (await console.get(path)).status_code == 404


async def test_an_order_lives_through_the_console(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    plan = await written(console, "POST", "/admin/plans", {"name": "Basic", "price": 0})
    order = await written(console, "POST", "/admin/orders", {"planId": plan["id"], "userId": ana["id"]})
    path = f"/admin/orders/{order['id']}"
    seen = await console.seen(path)
    assert (seen["user"]["name"], seen["plan"]["name"], seen["device"]) == ("Ana", "Basic", None)
    assert seen["order"]["state"] == "provisioning"

    other = await written(console, "POST", "/admin/orders", {"planId": plan["id"], "userId": ana["id"]})
    await written(console, "POST", f"/admin/orders/{other['id']}/cancel", {"reason": "by mistake"})
    assert (await console.seen(f"/admin/users/{ana['id']}"))["orders"][0]["state"] == "cancelled"
    await written(console, "PATCH", f"/admin/plans/{plan['id']}", {"name": "Starter"})
    assert (await console.seen(path))["plan"]["name"] == "Starter"


@contextmanager
def nothing_heard(services: Services) -> Iterator[None]:
    """Relays hold their announcements back: only what the write's own answer said can make a cached view fall."""
    services.bus.held.clear()
    try:
        yield
    finally:
        services.bus.held.set()


async def test_a_new_order_is_on_its_users_screen_before_it_is_announced(console: Console, services: Services) -> None:
    ana, plan = await services.user("Ana"), await services.plan(price=0)
    path = f"/admin/users/{ana['id']}"
    assert (await console.seen(path))["orders"] == []
    with nothing_heard(services):
        order = await written(console, "POST", "/admin/orders", {"planId": plan["id"], "userId": ana["id"]})
        assert [each["id"] for each in (await console.seen(path))["orders"]] == [order["id"]]


async def test_a_device_changes_hands_on_both_users_screens_before_it_is_announced(
    console: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    device = await services.device("Pixel")
    path = f"/admin/users/{ana['id']}"
    assert (await console.seen(path))["devices"]["total"] == 0
    with nothing_heard(services):
        await written(console, "POST", f"/admin/devices/{device['id']}/assign", {"ownerId": ana["id"]})
        assert (await console.seen(path))["devices"]["items"][0]["name"] == "Pixel"
        await written(console, "POST", f"/admin/devices/{device['id']}/unassign")
        assert (await console.seen(path))["devices"]["total"] == 0


async def test_an_installation_is_on_the_devices_screen_before_it_is_announced(
    console: Console, services: Services
) -> None:
    device, other = await services.device(), await services.device()
    version = (await services.installed(other))["appVersionId"]
    path = f"/admin/devices/{device['id']}"
    assert (await console.seen(path))["applications"] == []
    with nothing_heard(services):
        body = {"deviceId": device["id"], "appVersionId": version}
        installation = await written(console, "POST", "/admin/installations", body)
        assert [each["id"] for each in (await console.seen(path))["applications"]] == [installation["id"]]
        state = {"state": "downloading"}
        await written(console, "PATCH", f"/admin/installations/{installation['id']}", state)
        assert (await console.seen(path))["applications"][0]["state"] == "downloading"


async def test_plans_nodes_and_templates_come_and_go(console: Console) -> None:
    plan = await written(console, "POST", "/admin/plans", {"name": "Brief", "price": 1})
    assert (await console.seen(f"/admin/plans/{plan['id']}"))["price"] == 1
    await written(console, "DELETE", f"/admin/plans/{plan['id']}")
    node = await written(
        console, "POST", "/admin/nodes", {"name": f"n {uuid.uuid4().hex}", "region": "eu", "capacity": 10}
    )
    await written(console, "PATCH", f"/admin/nodes/{node['id']}", {"status": "draining"})
    nodes = {each["id"]: each for each in (await console.seen(f"/admin/nodes?search={node['name']}"))["items"]}
    assert nodes[node["id"]]["status"] == "draining"
    await written(console, "DELETE", f"/admin/nodes/{node['id']}")
    made = await template(console)
    await written(console, "PATCH", f"/admin/templates/{made['id']}", {"cpuCores": 8})
    await written(console, "DELETE", f"/admin/templates/{made['id']}")
    assert (await console.seen(f"/admin/templates?search={made['name']}"))["items"] == []


async def test_a_creation_sent_twice_under_one_key_is_made_once(console: Console) -> None:
    body = {"name": "Once", "price": 100}
    first = await console.ask("POST", "/admin/plans", body, idempotency_key="key-" + (same := uuid.uuid4().hex))
    second = await console.ask("POST", "/admin/plans", body, idempotency_key=f"key-{same}")
    assert first.json()["id"] == second.json()["id"]
    other = await console.ask("POST", "/admin/plans", {**body, "price": 200}, idempotency_key=f"key-{same}")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_write_that_expects_an_older_version_is_refused(console: Console, services: Services) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    changed = await console.ask("PATCH", path, {"name": "New"}, if_match=f'"v{device["version"]}"')
    assert changed.status_code == 200, changed.text
    late = await console.ask("PATCH", path, {"name": "Newer"}, if_match=f'"v{device["version"]}"')
    assert late.status_code == 412
    again = await console.ask("PATCH", path, {"name": "Newer"}, if_match=changed.headers["ETag"])
    assert again.status_code == 200


async def test_a_refusal_passes_through_as_its_service_said_it(console: Console, services: Services) -> None:
    device = await services.device()
    answer = await console.ask("POST", f"/admin/devices/{device['id']}/unassign")
    assert answer.status_code == 409
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "state-conflict"
    assert "currentState" in answer.json() or "current_state" in answer.json()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{", "application/json"), (b'{"nam":"x"}', "application/json"), (b'{"name":1}', "application/json"),
     (b'{"name":"a\\u0000b"}', "application/json"), (b"\xff", "application/json"), (b"[]", "application/json")],
)  # fmt: skip
async def test_a_body_that_is_not_a_request_is_a_400(
    console: Console, services: Services, body: bytes, content_type: str
) -> None:
    device = await services.device()
    headers = {**services.root, "Content-Type": content_type}
    answer = await console.http.patch(f"/admin/devices/{device['id']}", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_huge_body_is_a_413(console: Console, services: Services) -> None:
    answer = await console.ask("POST", "/admin/plans", {"name": "x" * 2_000_000, "price": 1})
    assert answer.status_code == 413


async def test_a_write_without_its_service_is_a_503_that_says_when_to_come_back(
    console: Console, services: Services
) -> None:
    device = await services.device()
    services.wires["device"].cut = True
    try:
        answer = await console.ask("PATCH", f"/admin/devices/{device['id']}", {"name": "New"})
    finally:
        services.wires["device"].cut = False
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
