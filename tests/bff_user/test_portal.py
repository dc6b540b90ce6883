"""The portal: a customer's own things, at once after a change, and nothing that is not meant for customers."""

import json
import uuid

import pytest

from tests.browser import Console
from tests.in_process import PASSWORD, Services

pytestmark = pytest.mark.anyio

FOR_STAFF_ONLY = (
    "node", "adbHost", "adbPort", "tenantId", "ownerEmail", "ownerName", "provider", "desiredState", "generation",
    "runId", "userEmail", "userName", "dataScope", "role", "status",
)  # fmt: skip


async def _customer(services: Services) -> tuple[dict[str, object], dict[str, str]]:
    user = await services.user("Ana")
    return user, await services.signed_in(str(user["email"]))


async def test_the_first_screen_shows_who_one_is_and_what_one_holds(portal: Console, services: Services) -> None:
    ana, by = await _customer(services)
    await services.device("Pixel", owner=ana)
    home = await portal.seen("/my/home", by=by)
    assert home["profile"]["name"] == "Ana"
    assert (home["devices"]["total"], home["devices"]["items"][0]["name"]) == (1, "Pixel")
    assert home["usage"]["seconds"] == 0


async def test_a_device_is_shown_with_its_applications_and_use(portal: Console, services: Services) -> None:
    ana, by = await _customer(services)
    device = await services.device("Pixel", owner=ana)
    await services.installed(device)
    seen = await portal.seen(f"/my/devices/{device['id']}", by=by)
    assert seen["device"]["name"] == "Pixel"
    assert [each["appName"] for each in seen["applications"]] == ["Chess"]
    assert seen["usage"]["deviceId"] == device["id"]


async def test_nothing_meant_for_staff_is_in_any_answer_even_after_an_administrator_warmed_the_cache(
    portal: Console, console: Console, services: Services
) -> None:
    ana, by = await _customer(services)
    device = await services.device("Pixel", owner=ana)
    await services.order(ana, deviceId=device["id"])
    await console.seen(f"/admin/devices/{device['id']}")
    await console.seen(f"/admin/users/{ana['id']}")
    order = (await portal.seen("/my/orders", by=by))["items"][0]["order"]["id"]
    for path in ("/my/home", "/my/devices", f"/my/devices/{device['id']}", "/my/orders", f"/my/orders/{order}",
                 "/my/profile", "/my/usage", "/plans"):  # fmt: skip
        text = json.dumps(await portal.seen(path, by=by))
        assert not [name for name in FOR_STAFF_ONLY if f'"{name}":' in text], path


async def test_anothers_things_are_like_things_that_are_not_there(
    portal: Console, console: Console, services: Services
) -> None:
    ana, _ = await _customer(services)
    _, ben = await _customer(services)
    device, order = await services.device(owner=ana), await services.order(ana)
    await console.seen(f"/admin/devices/{device['id']}")
    absent = await portal.get(f"/my/devices/{uuid.uuid4()}", by=ben)
    for path in (f"/my/devices/{device['id']}", f"/my/orders/{order['id']}"):
        for _ in range(2):
            answer = await portal.get(path, by=ben)
            assert answer.status_code == 404
            assert {**answer.json(), "requestId": ""} == {**absent.json(), "requestId": ""}
    assert (await portal.seen("/my/devices", by=ben))["items"] == []
    assert (await portal.ask("PATCH", f"/my/devices/{device['id']}", {"name": "Mine"}, by=ben)).status_code == 404
    assert (await portal.ask("POST", f"/my/orders/{order['id']}/cancel", {}, by=ben)).status_code == 404


async def test_staff_find_at_the_portal_only_what_is_their_own(portal: Console, services: Services) -> None:
    ana, _ = await _customer(services)
    device = await services.device(owner=ana)
    assert (await portal.get(f"/my/devices/{device['id']}")).status_code == 404
    assert (await portal.seen("/my/devices"))["items"] == []


async def test_a_new_customer_registers_signs_in_and_is_there(portal: Console, services: Services) -> None:
    slug = f"t-{uuid.uuid4().hex[:12]}"
    await services.ask("POST", "user", "/v1/tenants", {"name": "Acme", "slug": slug})
    email = f"{uuid.uuid4().hex}@example.com"
    wanted = {"tenant": slug, "name": "Ana", "email": email, "password": PASSWORD}
    made = await portal.ask("POST", "/auth/register", wanted, by={})
    assert made.status_code == 201, made.text
    assert (await portal.ask("POST", "/auth/register", wanted, by={})).status_code == 409
    signed_in = await portal.ask("POST", "/auth/login", {"email": email, "password": PASSWORD}, by={})
    by = {"Authorization": f"Bearer {signed_in.json()['accessToken']}"}
    assert (await portal.seen("/my/profile", by=by))["profile"]["email"] == email


async def test_a_refresh_token_is_good_for_once_and_a_logout_ends_the_session_at_once(
    portal: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    tokens = (await portal.ask("POST", "/auth/login", {"email": ana["email"], "password": PASSWORD}, by={})).json()
    fresh = (await portal.ask("POST", "/auth/refresh", {"refreshToken": tokens["refreshToken"]}, by={})).json()
    by = {"Authorization": f"Bearer {fresh['accessToken']}"}
    await portal.seen("/my/home", by=by)
    assert (await portal.ask("POST", "/auth/logout", by=by)).status_code == 204
    assert (await portal.get("/my/home", by=by)).status_code == 401
    again = await portal.ask("POST", "/auth/refresh", {"refreshToken": fresh["refreshToken"]}, by={})
    assert again.status_code == 401


async def test_a_new_password_voids_the_token_it_was_changed_with(portal: Console, services: Services) -> None:
    _, by = await _customer(services)
    wrong = {"currentPassword": "not this one", "newPassword": "another-password"}
    assert (await portal.ask("POST", "/my/password", wrong, by=by)).status_code == 401
    right = {"currentPassword": PASSWORD, "newPassword": "another-password"}
    assert (await portal.ask("POST", "/my/password", right, by=by)).status_code == 204
    assert (await portal.get("/my/profile", by=by)).status_code == 401


async def test_a_customer_sees_a_new_name_and_a_renamed_device_at_once(portal: Console, services: Services) -> None:
    ana, by = await _customer(services)
    device = await services.device("Old", owner=ana)
    path = f"/my/devices/{device['id']}"
    for warm in ("/my/home", "/my/profile", path):
        await portal.seen(warm, by=by)
    services.bus.held.clear()
    try:
        assert (await portal.ask("PATCH", "/my/profile", {"name": "Anna"}, by=by)).json()["name"] == "Anna"
        renamed = await portal.ask("PATCH", path, {"name": "New", "tags": ["work"]}, by=by)
        assert renamed.headers["Fresh-After"]
        home = await portal.seen("/my/home", by=by)
        assert (home["profile"]["name"], home["devices"]["items"][0]["name"]) == ("Anna", "New")
        assert (await portal.seen(path, by=by))["device"]["tags"] == ["work"]
    finally:
        services.bus.held.set()


async def test_an_order_is_made_at_the_plans_price_shown_with_its_history_and_cancelled(
    portal: Console, services: Services
) -> None:
    _, by = await _customer(services)
    plan = await services.plan(price=0)
    refused = await portal.ask("POST", "/my/orders", {"planId": plan["id"], "amount": 1}, by=by)
    assert refused.status_code == 400
    made = await portal.ask("POST", "/my/orders", {"planId": plan["id"]}, by=by, idempotency_key="once")
    assert (made.status_code, made.json()["amount"]) == (201, 0)
    again = await portal.ask("POST", "/my/orders", {"planId": plan["id"]}, by=by, idempotency_key="once")
    assert again.json()["id"] == made.json()["id"]
    path = f"/my/orders/{made.json()['id']}"
    assert (await portal.seen(path, by=by))["plan"]["name"] == plan["name"]
    assert (await portal.ask("POST", f"{path}/cancel", {"reason": "changed my mind"}, by=by)).status_code == 200
    history = (await portal.seen(path, by=by))["order"]["history"]
    assert [step["state"] for step in history] == ["pending", "provisioning", "compensating", "cancelled"]
    assert (await portal.ask("POST", f"{path}/cancel", {}, by=by)).status_code == 409


async def test_devices_are_paged_sorted_and_filtered(portal: Console, services: Services) -> None:
    ana, by = await _customer(services)
    for name in ("C", "A", "B"):
        await services.device(name, owner=ana)
    first = await portal.seen("/my/devices?sort=name&limit=2", by=by)
    assert [card["device"]["name"] for card in first["items"]] == ["A", "B"]
    rest = await portal.seen(f"/my/devices?sort=name&limit=2&cursor={first['nextCursor']}", by=by)
    assert ([card["device"]["name"] for card in rest["items"]], rest["nextCursor"]) == (["C"], None)
    assert (await portal.seen("/my/devices?state=running", by=by))["items"] == []
    assert (await portal.get("/my/devices?sort=secret", by=by)).status_code == 400
    assert (await portal.get("/my/devices?colour=red", by=by)).status_code == 400
    assert (await portal.get("/my/devices?cursor=forged", by=by)).json()["code"] == "invalid-cursor"


async def test_the_second_reader_of_a_screen_is_answered_in_front_of_the_app(
    portal: Console, services: Services
) -> None:
    _, by = await _customer(services)
    await portal.seen("/my/home", by=by)
    before = portal.cache.counts["front"]
    answer = await portal.get("/my/home", by=by)
    assert answer.headers["Cache-Status"] == "cloudphone; hit; detail=l1"
    assert portal.cache.counts["front"] == before + 1


async def test_every_operation_is_documented(portal: Console) -> None:
    document = (await portal.get("/schema/openapi.json", by={})).json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations) >= 17
    for each in operations:
        assert each["responses"]["400"]["content"].keys() == {"application/problem+json"}, each["operationId"]
