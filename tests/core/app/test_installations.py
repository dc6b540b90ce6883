"""Installations: one live one of a package on a device, along the table of states, for who holds the device."""

import asyncio
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.app.states import STEPS, TERMINAL, WITHOUT_ITS_VOLUME
from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.ids import uuid7
from tests.core.app.conftest import TO_INSTALLED, World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_a_customer_installs_on_the_own_device(world: World) -> None:
    app = await world.app(name="Chess")
    version = await world.version(app, versionName="2.1")
    body = {"deviceId": str(world.phone.id), "appVersionId": version["id"]}
    response = await world.client.post("/v1/installations", headers=world.as_ana, json=body)
    made = response.json()["data"]
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/installations/{made['id']}"
    assert (made["state"], made["attempt"], made["installedAt"]) == ("pending", 1, None)
    assert (made["appName"], made["versionName"], made["packageName"]) == ("Chess", "2.1", app["packageName"])
    assert response.json()["entities"].keys() == {f"installations:{world.phone.id}", f"app:{app['id']}"}
    assert (await world.ok("GET", response.headers["location"], world.as_ana))["data"] == made
    assert (await world.listed(world.bff))["data"] == [made]


async def test_of_two_installations_at_once_one_wins(world: World) -> None:
    await world.open_connections()
    version = await world.version(await world.app())
    body = {"deviceId": str(world.phone.id), "appVersionId": version["id"]}
    answers = await asyncio.gather(
        *(world.client.post("/v1/installations", headers=world.as_ana, json=body) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert {problem(answer)["code"] for answer in answers if not answer.is_success} == {"already-exists"}
    assert len((await world.listed(world.bff))["data"]) == 1


async def test_an_app_is_not_deleted_while_it_is_being_installed(world: World) -> None:
    await world.open_connections()
    for _ in range(5):
        app = await world.app()
        body = {"deviceId": str(world.phone.id), "appVersionId": (await world.version(app))["id"]}
        installed, deleted = await asyncio.gather(
            world.client.post("/v1/installations", headers=world.as_ana, json=body),
            world.client.delete(f"/v1/apps/{app['id']}", headers=world.admin),
        )
        assert (installed.status_code, deleted.status_code) in ((202, 409), (404, 200))


async def test_a_repeated_request_installs_once(world: World) -> None:
    version = await world.version(await world.app())
    body = {"deviceId": str(world.phone.id), "appVersionId": version["id"]}
    headers = {**world.as_ana, "Idempotency-Key": uuid7().hex}
    first = await world.client.post("/v1/installations", headers=headers, json=body)
    second = await world.client.post("/v1/installations", headers=headers, json=body)
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()


async def test_a_package_that_ended_can_be_installed_again_and_counts_the_attempts(world: World) -> None:
    app = await world.app()
    version, newer = await world.version(app), await world.version(app, versionCode=2, versionName="2.0")
    for attempt, (chosen, end) in enumerate(
        [(version, ("failed",)), (newer, ("cancelled",)), (newer, (*TO_INSTALLED, "uninstalling", "uninstalled"))], 1
    ):
        made = await world.install(chosen)
        assert made["attempt"] == attempt
        await world.walk(made, *end)
    last = await world.install(version)
    assert last["attempt"] == 4
    assert [one["state"] for one in (await world.listed(world.as_ana))["data"]] == ["failed", "pending"]


ROUTES: dict[InstallationState, tuple[InstallationState, ...]] = {"pending": ()}
for _state in STEPS:
    for _following in STEPS[_state]:
        ROUTES.setdefault(_following, (*ROUTES[_state], _following))


def test_every_state_is_reached_and_an_end_has_no_way_on() -> None:
    assert set(ROUTES) == set(get_args(InstallationState)) == set(STEPS)
    assert {"uninstalled", "failed", "cancelled"} == TERMINAL
    assert set(WITHOUT_ITS_VOLUME) == set(STEPS) - TERMINAL
    for present, way in WITHOUT_ITS_VOLUME.items():
        for state in way:
            assert state in STEPS[present]
            present = state
        assert present in TERMINAL


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.sampled_from(get_args(InstallationState)), min_size=1, max_size=8), ahead=st.booleans())
async def test_an_installation_walks_its_table_and_nothing_else(
    world: World, wanted: list[InstallationState], ahead: bool
) -> None:
    made = await world.install(await world.version(await world.app()), world.owners.device(world.acme, world.ana.id))
    path = f"/v1/installations/{made['id']}"
    present: InstallationState = "pending"
    if ahead:
        await world.walk(made, *TO_INSTALLED)
        present = "installed"
    for state in wanted:
        response = await world.client.patch(path, headers=world.admin, json={"state": state})
        if state in STEPS[present]:
            assert response.status_code == 200, (present, state)
            present = state
        else:
            assert response.status_code == 409, (present, state)
            refusal = problem(response)
            assert (refusal["current_state"], refusal["allowed"]) == (present, list(STEPS[present]))
        assert (await world.ok("GET", path, world.admin))["data"]["state"] == present


async def test_every_change_of_a_devices_installations_touches_them(world: World) -> None:
    entity = f"installations:{world.phone.id}"
    heard = [(await world.listed(world.bff))["entities"][entity]]
    made = await world.install(await world.version(await world.app()))
    heard.append((await world.listed(world.bff))["entities"][entity])
    for state in (*TO_INSTALLED, "uninstalling", "failed"):
        await world.walk(made, state)
        heard.append((await world.listed(world.bff))["entities"][entity])
    gone = await world.ok("DELETE", f"/v1/installations/{made['id']}", world.as_ana)
    assert gone["data"] is None
    heard.append(gone["entities"][entity])
    assert heard == sorted(set(heard))
    assert (await world.listed(world.bff))["data"] == []


async def test_only_a_record_that_ended_is_removed(world: World) -> None:
    made = await world.install(await world.version(await world.app()))
    path = f"/v1/installations/{made['id']}"
    refused = await world.client.delete(path, headers=world.as_ana)
    assert refused.status_code == 409
    assert problem(refused)["current_state"] == "pending"
    await world.walk(made, "cancelled")
    await world.ok("DELETE", path, world.as_ana)
    assert (await world.client.get(path, headers=world.admin)).status_code == 404


async def test_customers_cancel_and_uninstall_and_report_nothing(world: World) -> None:
    first = await world.install(await world.version(await world.app()))
    path = f"/v1/installations/{first['id']}"
    for state in ("downloading", "installed", "failed", "uninstalled"):
        assert (await world.client.patch(path, headers=world.as_ana, json={"state": state})).status_code == 403
    await world.ok("PATCH", path, world.as_ana, {"state": "cancelled"})
    second = await world.install(await world.version(await world.app()))
    await world.walk(second, *TO_INSTALLED)
    done = await world.ok("PATCH", f"/v1/installations/{second['id']}", world.as_ana, {"state": "uninstalling"})
    assert done["data"]["installedAt"] == "2026-03-15T12:00:00Z"


async def test_others_meet_404(world: World) -> None:
    version = await world.version(await world.app())
    made = await world.install(version)
    ben = world.owners.user(world.acme, name="Ben")
    others = [
        world.staff(world.rival),
        world.customer(world.owners.user(world.rival).id, world.rival),
        world.customer(ben.id, world.acme),
    ]
    body = {"deviceId": str(world.phone.id), "appVersionId": version["id"]}
    path = f"/v1/installations/{made['id']}"
    requests: list[tuple[str, str, Any]] = [
        ("GET", path, None),
        ("PATCH", path, {"state": "cancelled"}),
        ("DELETE", path, None),
        ("GET", f"/v1/devices/{world.phone.id}/installations", None),
        ("POST", "/v1/installations", body),
    ]
    for who in others:
        for method, url, json in requests:
            response = await world.client.request(method, url, headers=who, json=json)
            assert response.status_code == 404, (method, url)
            assert problem(response)["code"] == "not-found"
    assert (await world.ok("GET", path, world.staff(world.acme)))["data"] == made
    assert (
        await world.client.patch(path, headers=world.staff(world.acme, "support"), json={"state": "cancelled"})
    ).status_code == 403


async def test_what_is_not_there_cannot_be_installed(world: World) -> None:
    hidden = await world.version(await world.app(published=False))
    theirs = await world.version(await world.app(world.staff(world.rival)), world.staff(world.rival))
    for device_id, version_id in (
        (uuid7(), (await world.version(await world.app()))["id"]),
        (world.phone.id, str(uuid7())),
        (world.phone.id, hidden["id"]),
        (world.phone.id, theirs["id"]),
    ):
        body = {"deviceId": str(device_id), "appVersionId": version_id}
        for who in (world.as_ana, world.staff(world.acme)):
            response = await world.client.post("/v1/installations", headers=who, json=body)
            assert response.status_code == 404, body
    world.owners.away = {"device"}
    response = await world.client.post("/v1/installations", headers=world.as_ana, json=body)
    assert response.status_code == 503


async def test_counts_are_of_what_stands_installed(world: World) -> None:
    empty = world.owners.device(world.acme)
    for end in (TO_INSTALLED, TO_INSTALLED, ("downloading",)):
        await world.walk(await world.install(await world.version(await world.app())), *end)
    ids = f"{world.phone.id},{empty.id}"
    counts = await world.ok("GET", f"/v1/devices/installation-counts?ids={ids}", world.bff)
    found = counts["data"]["found"]
    assert {key: one["data"] for key, one in found.items()} == {str(world.phone.id): 2, str(empty.id): 0}
    assert found[str(empty.id)]["entities"] == {f"installations:{empty.id}": 0}
    listed = (await world.listed(world.bff))["entities"]
    entity = f"installations:{world.phone.id}"
    assert found[str(world.phone.id)]["entities"] == {entity: listed[entity]}
    for who in (world.staff(world.acme), world.as_ana):
        response = await world.client.get(f"/v1/devices/installation-counts?ids={ids}", headers=who)
        assert response.status_code == 403
