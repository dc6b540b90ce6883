"""Views composed together: as they would be alone, one question to each service, and none for what failed beside."""

import uuid
from typing import Any

import pytest

from tests.browser import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def by_worker(services: Services) -> dict[str, str]:
    identity = services.identity("cache-worker")
    try:
        return {"Authorization": f"Bearer {await identity.token()}"}
    finally:
        await identity.close()


def device_key(device_id: str) -> dict[str, Any]:
    return {"view": "device:full", "params": {"device_id": device_id}}


async def warmed(console: Console, services: Services, *keys: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await console.ask("POST", "/internal/warmup/fill", {"keys": keys}, by=await by_worker(services))
    return answer.json()["data"]


async def test_a_view_composed_with_others_is_the_view_composed_alone(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    held = await services.device("Pixel", owner=ana)
    free = await services.device("Nobody's")
    await services.installed(held)
    await services.order(ana, deviceId=held["id"])
    gift = {"currency": "EUR", "amount": 5, "reason": "sorry"}
    await services.ask("POST", "billing", f"/v1/users/{ana['id']}/adjustments", gift)
    ben = await services.user("Ben")
    views = {
        f"device:full:{held['id']}": f"/admin/devices/{held['id']}",
        f"device:full:{free['id']}": f"/admin/devices/{free['id']}",
        f"user:full:{ana['id']}": f"/admin/users/{ana['id']}",
        f"user:full:{ben['id']}": f"/admin/users/{ben['id']}",
    }
    alone: dict[str, Any] = {}
    for key, path in views.items():
        seen = await console.get(path)
        assert "hit" not in seen.headers["Cache-Status"]
        await eventually(lambda: not console.cache.filler._tasks)
        alone[key] = seen.json(), (await console.seen(f"/admin/cache/view?key={key}"))["versions"]
        await console.ask("DELETE", f"/admin/cache/view?key={key}")
    keys = [device_key(held["id"]), device_key(free["id"])]
    keys += [{"view": "user:full", "params": {"user_id": user["id"]}} for user in (ana, ben)]
    assert [each["outcome"] for each in await warmed(console, services, *keys)] == ["filled"] * 4
    for key, path in views.items():
        seen = await console.get(path)
        assert "hit" in seen.headers["Cache-Status"]
        assert (seen.json(), (await console.seen(f"/admin/cache/view?key={key}"))["versions"]) == alone[key]


async def test_fifty_cold_views_ask_each_service_each_thing_once(console: Console, services: Services) -> None:
    holders = [await services.user(f"Holder {number}") for number in range(3)]
    template = await services.template()
    devices = [
        await services.device(f"Phone {number}", owner=holders[number % 3], template=template) for number in range(50)
    ]
    keys = [device_key(device["id"]) for device in devices]
    before = {name: wire.calls for name, wire in services.wires.items()}
    results = await warmed(console, services, *keys)
    assert {each["outcome"] for each in results} == {"filled"}
    asked = {name: wire.calls - before[name] for name, wire in services.wires.items()}
    # The devices and what is done on them; the user service is also asked for the worker's token.
    assert asked == {"device": 2, "user": 2, "app": 1, "billing": 1, "cache-worker": 0}
    assert {each["outcome"] for each in await warmed(console, services, *keys)} == {"skipped"}


async def test_a_change_asks_again_only_for_what_shows_it_in_a_batch_too(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    devices = [await services.device(f"Phone {number}", owner=ana) for number in range(3)]
    keys = [device_key(device["id"]) for device in devices]
    await warmed(console, services, *keys)
    await console.ask("PATCH", f"/admin/users/{ana['id']}", {"name": "Anna"})
    before = {name: wire.calls for name, wire in services.wires.items()}
    assert {each["outcome"] for each in await warmed(console, services, *keys)} == {"filled"}
    asked = {name: wire.calls - before[name] for name, wire in services.wires.items()}
    assert asked == {"device": 0, "user": 2, "app": 0, "billing": 0, "cache-worker": 0}
    for device in devices:
        assert (await console.seen(f"/admin/devices/{device['id']}"))["owner"]["name"] == "Anna"


async def test_what_fails_in_a_batch_fails_alone(console: Console, services: Services) -> None:
    device, absent = await services.device(), str(uuid.uuid4())
    keys = [device_key(device["id"]), device_key("no-uuid"), device_key(absent), {"view": "none", "params": {}}]
    results = await warmed(console, services, *keys)
    # The service refuses the whole question for the id that is none, so each is asked for alone; what is not there is
    # remembered as such.
    assert [each["outcome"] for each in results] == ["filled", "filled", "filled", "failed"]
    assert results[3]["reason"]
    assert "hit" in (await console.get(f"/admin/devices/{device['id']}")).headers["Cache-Status"]
    assert (await console.get(f"/admin/devices/{absent}")).status_code == 404
