"""The portal's lists: a page of ids from its owner, and at most one question to each service for all its cards."""

import uuid

import pytest

from tests.browser import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_a_cold_page_of_cards_asks_each_service_once(portal: Console, services: Services) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    for number in range(12):
        device = await services.device(f"Phone {number}", owner=ana)
        await services.order(ana, deviceId=device["id"])
    for path, costs in (
        ("/my/devices?limit=50", {"device": 2, "app": 1, "user": 0, "billing": 0, "cache-worker": 0}),
        ("/my/orders?limit=50", {"billing": 3, "device": 0, "user": 0, "app": 0, "cache-worker": 0}),
    ):
        before = {name: wire.calls for name, wire in services.wires.items()}
        assert len((await portal.seen(path, by=by))["items"]) == 12
        # The page of ids and the cards; billing has the orders' plans beside.
        assert {name: wire.calls - before[name] for name, wire in services.wires.items()} == costs, path


async def test_the_plans_offered_are_searched_sorted_and_paged_and_no_others(
    portal: Console, services: Services
) -> None:
    by = await services.signed_in((await services.user("Ana"))["email"])
    word = uuid.uuid4().hex
    for name, price in (("a", 3), ("b", 2), ("c", 1)):
        plan = await services.plan(name=f"{name} {word}", price=price)
    await services.ask("PATCH", "billing", f"/v1/plans/{plan['id']}", {"active": False})
    first = await portal.seen(f"/plans?search={word}&sort=price&limit=1", by=by)
    assert [plan["price"] for plan in first["items"]] == [2]
    rest = await portal.seen(f"/plans?search={word}&sort=price&limit=1&cursor={first['nextCursor']}", by=by)
    assert ([plan["price"] for plan in rest["items"]], rest["nextCursor"]) == ([3], None)
    assert (await portal.get("/plans?active=false", by=by)).status_code == 400


async def test_a_screen_composed_with_others_is_the_screen_composed_alone(
    portal: Console, console: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    device = await services.device("Pixel", owner=ana)
    await services.installed(device)
    identity = services.identity("cache-worker")
    worker = {"Authorization": f"Bearer {await identity.token()}"}
    await identity.close()
    keys = [
        {"view": "my:device", "params": {"device_id": device["id"]}},
        {"view": "my:home", "params": {"user_id": ana["id"]}},
        {"view": "my:device", "params": {"device_id": (await services.device("Nobody's"))["id"]}},
    ]
    filled = (await portal.ask("POST", "/internal/warmup/fill", {"keys": keys}, by=worker)).json()["data"]
    assert [each["outcome"] for each in filled] == ["filled"] * 3
    for path, view in ((f"/my/devices/{device['id']}", keys[0]), ("/my/home", keys[1])):
        together = await portal.get(path, by=by)
        assert "hit" in together.headers["Cache-Status"]
        [declared] = [each for name, each in portal.cache.views.items() if name == view["view"]]
        await portal.cache.drop(declared, view["params"])
        alone = await portal.get(path, by=by)
        assert "hit" not in alone.headers["Cache-Status"]
        assert together.json() == alone.json()
