"""What a customer does with phones and finds in the store: one's own things only, and nothing of where they stand."""

import json
import uuid
from typing import Any

import pytest

from tests.bff_user.test_portal import FOR_STAFF_ONLY
from tests.browser import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio
INTERNAL = (*FOR_STAFF_ONLY, "requestedBy", "batchId", "result", "lastError", "allocationId", "sha256", "signers")


async def test_a_command_is_seen_on_the_devices_screen_at_once_without_what_is_for_staff(
    portal: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    device = await services.device("Pixel", owner=ana)
    await services.installed(device)
    path = f"/my/devices/{device['id']}"
    assert (await portal.seen(path, by=by))["operation"] is None
    services.bus.held.clear()
    try:
        started = await portal.ask("POST", f"{path}/start", by=by, idempotency_key="once")
        operation = started.json()
        assert (started.status_code, operation["kind"], operation["progress"]) == (202, "start", 0)
        assert started.headers["Location"] == f"/my/operations/{operation['id']}"
        shown = await portal.seen(path, by=by, fresh_after=started.headers["Fresh-After"])
        assert (shown["device"]["state"], shown["operation"]["id"]) == ("starting", operation["id"])
    finally:
        services.bus.held.set()
    assert [each["state"] for each in shown["applications"]] == ["pending"]
    refused = await portal.ask("POST", f"{path}/restore", {"snapshotId": str(uuid.uuid4())}, by=by)
    assert refused.status_code in (404, 409), refused.text
    answers = [operation, shown, await portal.seen(f"{path}/operations", by=by)]
    answers += [await portal.seen(f"{path}/vitals", by=by), await portal.seen(started.headers["Location"], by=by)]
    for answer in answers:
        assert not [name for name in INTERNAL if f'"{name}":' in json.dumps(answer)]


async def test_anothers_phone_is_like_one_that_is_not_there(portal: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    started = await services.ask("POST", "device", f"/v1/devices/{device['id']}/start")
    installation = await services.installed(device)
    ben = await services.member("customer")
    tap = {"events": [{"type": "tap", "x": 1, "y": 1}]}
    path = f"/my/devices/{device['id']}"
    asked: list[tuple[str, str, object]] = [
        *(("POST", f"{path}/{act}", None) for act in ("start", "stop", "reboot", "reset")),
        *(("GET", f"{path}/{what}", None) for what in ("screenshot", "vitals", "files", "snapshots", "operations")),
        ("GET", f"{path}/files/content?path=/sdcard/a", None),
        ("POST", f"{path}/input", tap),
        ("POST", f"{path}/snapshots", {"name": "Mine"}),
        ("POST", f"{path}/apps", {"appVersionId": installation["appVersionId"]}),
        ("DELETE", f"{path}/apps/{installation['id']}", None),
        ("GET", f"/my/operations/{started['id']}", None),
    ]
    for method, where, body in asked:
        answer = await portal.ask(method, where, body, by=ben)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), (method, where, answer.text)
    put = await portal.http.put(f"{path}/files/content?path=/sdcard/a", content=b"a", headers=ben)
    assert put.status_code == 404, put.text
    mirrored = await portal.ask("POST", "/my/devices/input", {"deviceIds": [device["id"]], **tap}, by=ben)
    assert mirrored.status_code == 404 or mirrored.json()["items"][0]["error"], mirrored.text
    for act in ("clean", "freeze", "unfreeze"):
        assert (await portal.ask("POST", f"{path}/{act}", by=ben)).status_code in (404, 405)


@pytest.mark.parametrize(
    "events",
    [
        [], [{"type": "shell", "command": "id"}], [{"type": "tap", "x": -1, "y": 0}],
        [{"type": "text", "text": "a\nb"}],
        [{"type": "key", "key": "26"}], [{"type": "tap", "x": 1, "y": 1}] * 51,
    ],
)  # fmt: skip
async def test_what_is_no_input_is_a_400(portal: Console, services: Services, events: list[Any]) -> None:
    device = await services.device(owner=await services.user("Ana"))
    answer = await portal.ask("POST", f"/my/devices/{device['id']}/input", {"events": events})
    assert answer.status_code == 400, answer.text


async def test_an_app_is_found_in_the_store_reviewed_installed_and_given_up(
    portal: Console, services: Services
) -> None:
    ana, ben = await services.user("Ana"), await services.member("customer")
    by = await services.signed_in(ana["email"])
    shop = await services.installed(await services.device())
    app = f"/apps/{shop['appId']}"
    found = await portal.seen(f"/apps?search={shop['packageName']}", by=by)
    assert [each["id"] for each in found["items"]] == [shop["appId"]]
    [version] = await portal.seen(f"{app}/versions", by=by)
    assert (version["id"], version["available"]) == (shop["appVersionId"], True)
    for path in (app, f"{app}/versions", "/apps/categories"):
        text = json.dumps(await portal.seen(path, by=by))
        assert not [name for name in INTERNAL if f'"{name}":' in text], path
    assert (await portal.get(f"/apps/{uuid.uuid4()}", by=by)).status_code == 404

    review = await portal.ask("POST", f"{app}/reviews", {"rating": 4, "text": "Good"}, by=by)
    assert (review.status_code, review.json()["mine"]) == (200, True), review.text
    [theirs] = (await portal.seen(f"{app}/reviews", by=ben))["items"]
    assert (theirs["mine"], theirs["rating"]) == (False, 4)
    mine = f"/my/reviews/{theirs['id']}"
    assert (await portal.ask("DELETE", mine, by=ben)).status_code in (403, 404)
    assert (await portal.ask("DELETE", mine, by=by)).status_code == 204
    assert (await portal.ask("POST", f"{app}/reviews", {"rating": 6}, by=by)).status_code == 400

    device = await services.device("Pixel", owner=ana)
    path = f"/my/devices/{device['id']}"
    asked = await portal.ask("POST", f"{path}/apps", {"appVersionId": version["id"]}, by=by, idempotency_key="once")
    assert asked.status_code == 202, asked.text
    assert asked.json() == {"installationId": asked.json()["installationId"], "status": "pending"}
    assert asked.headers["Location"] == path
    again = await portal.ask("POST", f"{path}/apps", {"appVersionId": version["id"]}, by=by, idempotency_key="once")
    assert again.json() == asked.json()
    shown = await portal.seen(path, by=by, fresh_after=asked.headers["Fresh-After"])
    assert [(each["state"], each["progress"]) for each in shown["applications"]] == [("pending", 0)]
    removed = await portal.ask("DELETE", f"{path}/apps/{asked.json()['installationId']}", by=by)
    assert removed.status_code == 202, removed.text
    other = await services.device(owner=ana)
    elsewhere = f"/my/devices/{other['id']}/apps/{asked.json()['installationId']}"
    assert (await portal.ask("DELETE", elsewhere, by=by)).status_code == 404
