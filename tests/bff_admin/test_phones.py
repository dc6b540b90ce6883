"""What staff do to devices and to the apps on them: asked for at once, done by and by, seen on the way."""

import base64
import uuid
from typing import Any

import pytest

from cloudphone_shared.ids import uuid7
from tests.apks import apk
from tests.bff_admin.conftest import Console
from tests.in_process import Services
from tests.uploading import TUS

pytestmark = pytest.mark.anyio


async def test_a_command_is_answered_by_its_operation_and_seen_on_the_devices_screen_at_once(
    console: Console, services: Services
) -> None:
    device = await services.device("Pixel", owner=await services.user("Ana"))
    path = f"/admin/devices/{device['id']}"
    assert (await console.seen(path))["operation"] is None
    services.bus.held.clear()
    try:
        started = await console.ask("POST", f"{path}/start", idempotency_key="once")
        operation = started.json()
        assert (started.status_code, operation["kind"], operation["state"]) == (202, "start", "queued")
        assert started.headers["Location"] == f"/admin/operations/{operation['id']}"
        again = await console.ask("POST", f"{path}/start", idempotency_key="once")
        assert again.json()["id"] == operation["id"]
        token = {"fresh_after": started.headers["Fresh-After"]}
        shown = await console.seen(path, **token)
        assert (shown["device"]["state"], shown["operation"]["id"]) == ("starting", operation["id"])
        refused = await console.ask("POST", f"{path}/reset")
        assert (refused.status_code, refused.json()["current_state"]) == (409, "starting")
        cancelled = await console.ask("POST", f"/admin/operations/{operation['id']}/cancel", **token)
        assert cancelled.status_code == 202, cancelled.text
        # What is on already is turned off again.
        shown = await console.seen(path, fresh_after=cancelled.headers["Fresh-After"])
        assert (shown["device"]["state"], shown["operation"]["id"]) == ("stopping", operation["id"])
    finally:
        services.bus.held.set()
    assert (await console.seen(f"/admin/operations/{operation['id']}"))["kind"] == "start"
    assert [each["kind"] for each in await console.seen(f"{path}/operations")] == ["stop", "start"]
    listed = await console.seen(f"/admin/operations?deviceId={device['id']}&kind=start&state=queued")
    assert [each["id"] for each in listed["items"]] == [operation["id"]]
    assert (await console.get(f"{path}/screenshot")).status_code == 409
    assert (await console.seen(f"{path}/vitals"))["online"] is False
    assert await console.seen(f"{path}/snapshots") == await console.seen(f"{path}/grants") == []


async def test_many_devices_are_commanded_at_once_each_with_an_answer_of_its_own(
    console: Console, services: Services
) -> None:
    tenant = await services.tenant()
    ana = await services.user("Ana", tenant=tenant)
    held, free = await services.device(owner=ana), await services.device(tenant=tenant)
    strange = await services.device()
    wanted = {"action": "start", "deviceIds": [held["id"], free["id"], strange["id"]]}
    theirs = await services.member("admin", tenant=tenant)
    done = await console.ask("POST", "/admin/devices/batch", wanted, by=theirs)
    assert done.status_code == 202, done.text
    first, second, third = done.json()["items"]
    assert first["operation"]["kind"] == "start"
    assert (second["problem"]["code"], third["problem"]["code"]) == ("state-conflict", "not-found")
    batch = await console.seen(done.headers["Location"], by=theirs)
    assert [each["deviceId"] for each in batch["items"]] == [held["id"]]
    assert (await console.ask("POST", "/admin/devices/batch", wanted | {"deviceIds": []})).status_code == 400
    gone = await console.ask("DELETE", f"/admin/devices/{free['id']}")
    assert (gone.status_code, gone.content) == (204, b"")


async def test_each_role_commands_what_it_may_within_its_tenant(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    ours, theirs = await services.device(tenant=tenant), await services.device()
    support = await services.member("support", tenant=tenant)
    for act, status in (("start", 409), ("clean", 403), ("freeze", 403), ("unfreeze", 403)):
        answer = await console.ask("POST", f"/admin/devices/{ours['id']}/{act}", by=support)
        assert answer.status_code == status, (act, answer.text)
    batch = {"action": "stop", "deviceIds": [ours["id"]]}
    assert (await console.ask("POST", "/admin/devices/batch", batch, by=support)).status_code == 403
    for path in ("operations", "snapshots", "grants", "vitals", "screenshot"):
        assert (await console.get(f"/admin/devices/{theirs['id']}/{path}", by=support)).status_code == 404, path
    assert (await console.ask("POST", f"/admin/devices/{theirs['id']}/stop", by=support)).status_code == 404
    assert (await console.get("/admin/reconcile-reports", by=support)).status_code == 403
    assert (await console.seen("/admin/reconcile-reports"))["items"] == []


async def test_an_apk_is_sent_in_pieces_published_and_installed_on_many_devices(
    console: Console, services: Services
) -> None:
    content = apk(f"com.example.a{uuid.uuid4().hex[:8]}", label="Chess")
    begun = await console.ask(
        "POST", "/admin/uploads", **TUS, upload_length=str(len(content)),
        upload_metadata="filename " + base64.b64encode(b"chess.apk").decode(),
    )  # fmt: skip
    assert begun.status_code == 201, begun.text
    place = begun.headers["Location"]
    assert place.startswith("/admin/uploads/")
    for start, end in ((0, 100), (100, len(content))):
        sent = await _send(console, services, place, start, content[start:end])
        assert (sent.status_code, sent.headers["Upload-Offset"]) == (204, str(end)), sent.text
        looked = await console.ask("HEAD", place)
        assert (looked.headers["Upload-Offset"], looked.headers["Upload-Length"]) == (str(end), str(len(content)))
    behind = await _send(console, services, place, 0, b"again")
    assert behind.status_code == 409, behind.text
    assert (await console.seen(place))["apk"]["label"] == "Chess"
    published = await console.ask("POST", f"{place}/publish", {})
    version = published.json()
    assert (published.status_code, version["available"]) == (201, True)
    app = f"/admin/apps/{version['appId']}"
    assert (await console.ask("POST", f"{app}/unpublish")).json()["published"] is False
    assert (await console.ask("POST", f"{app}/publish")).json()["published"] is True
    device = await services.device(owner=await services.user("Ana"))
    wanted = {"appVersionId": version["id"], "deviceIds": [device["id"], str(uuid7())]}
    done = await console.ask("POST", "/admin/installations/batch", wanted)
    made, refused = done.json()["items"]
    assert (done.status_code, refused["problem"]["code"]) == (202, "not-found"), done.text
    given = made["installation"]
    shown = await console.seen(f"/admin/devices/{device['id']}", fresh_after=done.headers["Fresh-After"])
    assert [each["id"] for each in shown["applications"]] == [given["id"]]
    cancelled = await console.ask("POST", f"/admin/installations/{given['id']}/cancel")
    assert cancelled.status_code == 202, cancelled.text
    assert cancelled.headers["Location"] == f"/admin/installations/{given['id']}"
    listed = await console.seen(f"/admin/installations?deviceId={device['id']}")
    assert [each["id"] for each in listed["items"]] == [given["id"]]


async def _send(console: Console, services: Services, place: str, offset: int, content: bytes) -> Any:
    headers = services.root | {name: str(value) for name, value in TUS.items()} | {"Upload-Offset": str(offset)}
    headers["Content-Type"] = "application/offset+octet-stream"

    async def pieces() -> Any:
        for start in range(0, len(content), 50):
            yield content[start : start + 50]

    return await console.http.request("PATCH", place, content=pieces(), headers=headers)
