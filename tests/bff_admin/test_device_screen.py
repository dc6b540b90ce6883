"""The device's screen: four services in one answer, never older than what was announced."""

import pytest

from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console, console_of
from tests.conditions import eventually
from tests.in_process import Services
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


async def test_one_call_shows_the_device_its_owner_its_applications_and_its_use(
    console: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    device = await services.device("Pixel", owner=ana)
    await services.installed(device)
    seen = await console.seen(f"/admin/devices/{device['id']}")
    assert seen["device"]["name"] == "Pixel"
    assert seen["owner"]["name"] == "Ana"
    assert [each["appName"] for each in seen["applications"]] == ["Chess"]
    assert seen["usage"]["seconds"] == 0


async def test_the_second_reader_is_answered_from_the_cache_without_asking_anybody(
    console: Console, services: Services
) -> None:
    device = await services.device(owner=await services.user())
    first = await console.get(f"/admin/devices/{device['id']}")
    asked = services.calls()
    second = await console.get(f"/admin/devices/{device['id']}")
    assert second.headers["Cache-Status"].startswith("cloudphone; hit")
    assert second.content == first.content
    assert services.calls() == asked


async def test_who_renames_a_device_sees_the_new_name_at_once(console: Console, services: Services) -> None:
    device = await services.device("Old")
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)
    answer = await console.ask("PATCH", path, {"name": "New"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "New"
    assert answer.headers["Fresh-After"] and "fresh-after=" in answer.headers["Set-Cookie"]
    assert (await console.seen(path))["device"]["name"] == "New"


async def test_a_change_made_at_its_service_is_seen_through_the_feed(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)
    await services.ask("PATCH", "user", f"/v1/users/{ana['id']}", {"name": "Anna"})

    async def renamed() -> bool:
        return (await console.seen(path))["owner"]["name"] == "Anna"

    await eventually(renamed)


async def test_a_proven_hit_is_answered_in_front_of_the_app(console: Console, services: Services) -> None:
    device = await services.device()
    await console.seen(f"/admin/devices/{device['id']}")
    before = console.cache.counts["front"]
    await console.seen(f"/admin/devices/{device['id']}")
    assert console.cache.counts["front"] == before + 1


async def test_an_unchanged_view_is_304(console: Console, services: Services) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    first = await console.get(path)
    again = await console.get(path, if_none_match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")


async def test_another_process_shows_the_writers_change_to_who_brings_the_token(
    console: Console, services: Services, valkey: Valkey
) -> None:
    device = await services.device("Old")
    path = f"/admin/devices/{device['id']}"
    async with console_of(services, valkey.url) as other:
        await other.seen(path)
        services.bus.held.clear()
        try:
            token = (await console.ask("PATCH", path, {"name": "New"})).headers["Fresh-After"]
            assert (await other.seen(path, fresh_after=token))["device"]["name"] == "New"
            cookie = f"fresh-after={token}"
            assert (await other.seen(path, cookie=cookie))["device"]["name"] == "New"
        finally:
            services.bus.held.set()


async def test_a_reader_with_an_empty_token_is_handed_one_that_other_processes_honour(
    console: Console, services: Services, valkey: Valkey
) -> None:
    device = await services.device("Old")
    path = f"/admin/devices/{device['id']}"
    async with console_of(services, valkey.url) as other:
        await other.seen(path)
        services.bus.held.clear()
        try:
            await console.ask("PATCH", path, {"name": "New"})
            for _ in range(2):  # composed, then in front of the app
                read = await console.get(path, fresh_after="")
                assert (await other.seen(path, fresh_after=read.headers["Fresh-After"]))["device"]["name"] == "New"
        finally:
            services.bus.held.set()


async def test_a_service_that_is_away_costs_its_part_only(console: Console, services: Services) -> None:
    device = await services.device()
    services.wires["billing"].cut = True
    try:
        answer = await console.get(f"/admin/devices/{device['id']}")
    finally:
        services.wires["billing"].cut = False
    assert answer.status_code == 200
    assert answer.json()["usage"] is None
    assert answer.headers["X-View-Complete"] == "false"
    assert "usage" in [part["field"] for part in answer.json()["degraded"]]


async def test_the_last_good_part_stands_in_for_a_service_that_is_away(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device("Old", owner=ana)
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)
    services.wires["user"].cut = True
    try:
        await console.ask("PATCH", path, {"name": "New"})
        answer = await console.get(path)
    finally:
        services.wires["user"].cut = False
    assert answer.json()["device"]["name"] == "New"
    assert answer.json()["owner"]["name"] == "Ana"


async def test_nothing_to_show_and_nobody_to_ask_is_503(console: Console, services: Services) -> None:
    device = await services.device()
    services.wires["device"].cut = True
    try:
        answer = await console.get(f"/admin/devices/{device['id']}")
    finally:
        services.wires["device"].cut = False
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


async def test_a_device_that_does_not_exist_is_404_until_it_does(console: Console, services: Services) -> None:
    missing = f"/admin/devices/{uuid7()}"
    first, second = await console.get(missing), await console.get(missing)
    assert first.status_code == second.status_code == 404
    assert second.json()["code"] == "not-found"


async def test_a_deleted_device_is_404_for_its_deleter_at_once(console: Console, services: Services) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)
    assert (await console.ask("DELETE", path)).status_code == 204
    assert (await console.get(path)).status_code == 404


async def test_anothers_tenant_is_as_absent_as_what_does_not_exist(console: Console, services: Services) -> None:
    device = await services.device()
    stranger = await services.member("support", tenant=await services.tenant())
    colleague = await services.member("support")
    path = f"/admin/devices/{device['id']}"
    for _ in range(3):  # composed, then from both layers
        assert (await console.get(path, by=colleague)).status_code == 200
        theirs, absent = (
            await console.get(path, by=stranger),
            await console.get(f"/admin/devices/{uuid7()}", by=stranger),
        )
        assert theirs.status_code == absent.status_code == 404
        assert {**theirs.json(), "requestId": ""} == {**absent.json(), "requestId": ""}
