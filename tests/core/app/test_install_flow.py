"""From the request to the report: what is asked of the device, what it answers in any order, and what time does."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.app import reporting
from cloudphone_core.app.reporting import Report
from cloudphone_core.app.states import ORDER, STEPS, UNDER_WAY
from cloudphone_shared.events.device import (
    AppInstallCompleted,
    AppInstallFailed,
    AppInstallProgressed,
    AppUninstallCompleted,
    AppUninstallFailed,
)
from cloudphone_shared.ids import uuid7
from tests.apks import apk
from tests.core.app.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


def report(kind: type[Report], made: dict[str, Any], **fields: object) -> Report:
    told = {"installationId": made["id"], "deviceId": made["deviceId"], "tenantId": str(uuid7())}
    return msgspec.convert({**told, "attempt": made["attempt"], **fields}, kind, strict=False)


async def tell(world: World, *reports: Report) -> None:
    for each in reports:
        async with world.database.writing() as session:
            await reporting.take_report(session, each, world.now)


async def now(world: World, made: dict[str, Any]) -> dict[str, Any]:
    return (await world.ok("GET", f"/v1/installations/{made['id']}", world.admin))["data"]


async def asked(world: World, made: dict[str, Any]) -> list[str]:
    """What was asked of the device for it."""
    sql = """SELECT type FROM app.outbox WHERE payload ->> 'installationId' = :id AND type <> 'app.installation.changed'
             ORDER BY id"""
    return [row.type for row in await world.rows(sql, id=made["id"])]


async def test_an_installation_is_asked_for_reported_and_followed_by_an_upgrade(world: World) -> None:
    app = await world.app()
    old = await world.version(app)
    began = time.process_time()
    made = await world.install(old)
    assert time.process_time() - began < 0.1
    sql = "SELECT payload FROM app.outbox WHERE type = 'app.install.requested' ORDER BY id DESC LIMIT 1"
    request = (await world.rows(sql))[0].payload
    assert request["url"] == f"/v1/app-versions/{old['id']}/apk"
    assert (request["versionCode"], request["sha256"], request["attempt"]) == (1, old["sha256"], 1)
    await tell(world, report(AppInstallProgressed, made, state="downloading", progress=12))
    assert [(each["state"], each["progress"]) for each in (await world.listed(world.as_ana))["data"]] == [
        ("downloading", 12)
    ]
    await tell(world, report(AppInstallCompleted, made))
    assert (await now(world, made))["progress"] == 100

    again = await world.client.post(
        "/v1/installations", headers=world.as_ana, json={"deviceId": made["deviceId"], "appVersionId": old["id"]}
    )
    assert again.status_code == 409
    new = await world.version(app, versionCode=2, versionName="2.0")
    upgrade = await world.install(new)
    assert upgrade["replaces"] == made["id"]
    taken_off = await world.client.post(f"/v1/installations/{made['id']}/uninstall", headers=world.as_ana)
    assert taken_off.status_code == 409
    assert {each["state"] for each in (await world.listed(world.as_ana))["data"]} == {"installed", "pending"}
    await tell(world, report(AppInstallCompleted, upgrade))
    former = await now(world, made)
    assert (former["state"], former["replacedBy"]) == ("uninstalled", upgrade["id"])
    assert [each["id"] for each in (await world.listed(world.as_ana))["data"]] == [upgrade["id"]]
    down = {"deviceId": made["deviceId"], "appVersionId": old["id"]}
    refused = await world.client.post("/v1/installations", headers=world.as_ana, json=down)
    assert (refused.status_code, problem(refused)["reason"]) == (409, "downgrade")

    gone = await world.ok("POST", f"/v1/installations/{upgrade['id']}/uninstall", world.as_ana)
    assert gone["data"]["state"] == "uninstalling"
    await tell(world, report(AppUninstallFailed, upgrade, code="device-not-running", error="off"))
    failed = await now(world, upgrade)
    assert (failed["state"], failed["error"]) == ("failed", "The phone is not running: start it, and try again")
    again = await world.install(new)
    refused = await world.client.post(f"/v1/installations/{upgrade['id']}/retry", headers=world.as_ana)
    assert refused.status_code == 409
    await tell(world, report(AppInstallFailed, again, code="cancelled", error="", cancelled=True))
    retried = (await world.ok("POST", f"/v1/installations/{upgrade['id']}/retry", world.as_ana))["data"]
    assert (retried["state"], retried["attempt"], retried["retryOf"]) == ("uninstalling", 4, upgrade["id"])
    assert await asked(world, retried) == ["app.uninstall.requested"]
    await tell(world, report(AppUninstallCompleted, retried), report(AppUninstallCompleted, upgrade))
    assert (await world.listed(world.as_ana))["data"] == [failed]


async def test_cancelling_is_asked_for_and_the_device_has_the_last_word(world: World) -> None:
    version = await world.version(await world.app())
    for answer, end in (
        ((AppInstallFailed, {"code": "cancelled", "error": "", "cancelled": True}), "cancelled"),
        ((AppInstallCompleted, {}), "installed"),
    ):
        made = await world.install(version)
        for _ in range(2):
            await world.ok("POST", f"/v1/installations/{made['id']}/cancel", world.as_ana)
        assert await asked(world, made) == ["app.install.requested", "app.install.cancelled"]
        assert (await now(world, made))["state"] == "pending"
        await tell(world, report(answer[0], made, **answer[1]))
        assert (await now(world, made))["state"] == end
        late = await world.client.post(f"/v1/installations/{made['id']}/cancel", headers=world.as_ana)
        assert (late.status_code, problem(late)["current_state"]) == (409, end)


async def test_a_device_that_never_answers_fails_in_time_and_is_tried_again(world: World) -> None:
    made = await world.install(await world.version(await world.app()))
    world.now += timedelta(minutes=20)
    await tell(world, report(AppInstallProgressed, made, state="transferring", progress=40))
    world.now += timedelta(minutes=20)
    await reporting.sweep(world.database, world.now)
    assert (await now(world, made))["state"] == "transferring"
    world.now += timedelta(minutes=11)
    assert await reporting.sweep(world.database, world.now) >= 1
    failed = await now(world, made)
    assert (failed["state"], failed["errorCode"]) == ("failed", "timed_out")
    assert await asked(world, made) == ["app.install.requested", "app.install.cancelled"]
    retried = (await world.ok("POST", f"/v1/installations/{made['id']}/retry", world.as_ana))["data"]
    await tell(world, report(AppInstallCompleted, made))
    assert ((await now(world, made))["state"], (await now(world, retried))["state"]) == ("failed", "pending")


async def test_small_progress_is_not_worth_everybodys_looking_again(world: World) -> None:
    made = await world.install(await world.version(await world.app()))
    entity = f"installations:{world.phone.id}"
    before = (await world.listed(world.bff))["entities"][entity]
    steps = [report(AppInstallProgressed, made, state="downloading", progress=percent) for percent in range(1, 40)]
    await tell(world, *steps, *steps)
    assert (await world.listed(world.bff))["entities"][entity] - before == 4


async def test_many_devices_at_once_are_accepted_or_refused_each_by_itself(world: World) -> None:
    app = await world.app()
    version = await world.version(app, abis=["x86_64"], minSdk=33)
    fits = world.owners.template()
    devices = [world.owners.device(world.acme, world.ana.id, template=fits) for _ in range(120)]
    arm = world.owners.device(world.acme, template=world.owners.template(abis=["arm64-v8a"]))
    old = world.owners.device(world.acme, template=world.owners.template("12"))
    theirs = world.owners.device(world.rival)
    await world.install(version, devices[0])
    named = [*devices, arm, old, theirs, devices[1]]
    operator = world.staff(world.acme)
    body = {"appVersionId": version["id"], "deviceIds": [str(device.id) for device in named] + [str(uuid7())]}
    items = (await world.ok("POST", "/v1/installations/batch", operator, body))["data"]["items"]
    assert [item["deviceId"] for item in items] == list(dict.fromkeys(body["deviceIds"]))
    refusals = {item["deviceId"]: item["problem"]["code"] for item in items if item["problem"]}
    assert refusals == {
        str(devices[0].id): "already-exists",
        str(arm.id): "no-abi-fits",
        str(old.id): "android-too-old",
        str(theirs.id): "not-found",
        body["deviceIds"][-1]: "not-found",
    }
    begun = {"appVersionId": version["id"], "state": "pending", "limit": 100}
    page = (await world.ok("GET", "/v1/installations", operator, params=begun))["data"]
    assert len(page["items"]) == 100 and page["nextCursor"]
    too_many = {**body, "deviceIds": [str(uuid7()) for _ in range(501)]}
    assert (await world.client.post("/v1/installations/batch", headers=operator, json=too_many)).status_code == 400


async def test_a_version_without_its_file_is_refused_and_published_ones_are_for_customers(world: World) -> None:
    app = await world.app()
    body = {"versionCode": 1, "versionName": "1", "sha256": "a" * 64, "size": 1}
    bare = (await world.ok("POST", f"/v1/apps/{app['id']}/versions", world.admin, body))["data"]
    wanted = {"deviceId": str(world.phone.id), "appVersionId": bare["id"]}
    refused = await world.client.post("/v1/installations", headers=world.as_ana, json=wanted)
    assert (refused.status_code, problem(refused)["reason"]) == (409, "no-file")
    hidden = await world.published(apk(f"org.a{uuid7().hex}"))
    await world.ok("POST", f"/v1/app-versions/{hidden['id']}/unpublish", world.admin)
    wanted["appVersionId"] = hidden["id"]
    assert (await world.client.post("/v1/installations", headers=world.as_ana, json=wanted)).status_code == 404
    assert (await world.client.post("/v1/installations", headers=world.admin, json=wanted)).status_code == 202


REPORTS: list[Callable[[dict[str, Any]], Report]] = [
    *(
        lambda made, state=state, progress=progress: report(AppInstallProgressed, made, state=state, progress=progress)
        for state, progress in (("downloading", 10), ("transferring", 50), ("installing", 80), ("verifying", 95))
    ),
    lambda made: report(AppInstallCompleted, made),
    lambda made: report(AppInstallFailed, made, code="INSTALL_FAILED_INSUFFICIENT_STORAGE", error="no"),
    lambda made: report(AppInstallFailed, made, code="cancelled", error="", cancelled=True),
    lambda made: report(AppInstallCompleted, {**made, "attempt": made["attempt"] + 1}),
]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, len(REPORTS) - 1), min_size=1, max_size=12), together=st.booleans())
async def test_reports_in_any_order_and_number_lead_onwards_only_and_end_once(
    world: World, order: list[int], together: bool
) -> None:
    device = world.owners.device(world.acme, world.ana.id)
    made = await world.install(await world.version(await world.app()), device)
    told = [REPORTS[number](made) for number in order]
    seen = [made]
    if together:
        await asyncio.gather(*(tell(world, each) for each in told))
        seen.append(await now(world, made))
    else:
        for each in told:
            await tell(world, each)
            seen.append(await now(world, made))
    for before, after in pairwise(seen):
        assert ORDER[after["state"]] >= ORDER[before["state"]]
        assert after["progress"] >= before["progress"]
        assert before["state"] in UNDER_WAY or after == before
    ends = [number for number in order if 4 <= number < 7]
    end = {4: "installed", 5: "failed", 6: "cancelled"}
    if not ends:
        assert seen[-1]["state"] == max(
            ("pending", *(("downloading", "transferring", "installing", "verifying")[n] for n in order if n < 4)),
            key=lambda state: ORDER[state],
        )
    elif not together:
        assert seen[-1]["state"] == end[ends[0]]
    else:
        assert seen[-1]["state"] in {end[number] for number in ends}
    changes = await world.rows(
        """SELECT payload ->> 'oldState' AS old, payload ->> 'newState' AS new FROM app.outbox
           WHERE type = 'app.installation.changed' AND payload ->> 'installationId' = :id ORDER BY id""",
        id=made["id"],
    )
    assert [change.new for change in changes[:-1]] == [change.old for change in changes[1:]]
    assert sum(not STEPS[change.new] or change.new == "installed" for change in changes) == bool(ends)
