"""The device's screen: four services in one answer, never older than what was announced."""

import pytest

from tests.bff_admin.conftest import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_one_call_shows_the_device_its_owner_its_applications_and_its_use(
    console: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    device = await services.device("Pixel", owner=ana)
    seen = await console.seen(f"/admin/devices/{device['id']}")
    assert seen["device"]["name"] == "Pixel"
    assert seen["owner"]["name"] == "Ana"
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

    await eventually(renamed, within=2.0)
