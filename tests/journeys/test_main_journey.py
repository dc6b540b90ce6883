"""One call, one composed view from four services, never out of date: on either bus, in two databases or in many."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.apks import apk
from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.uploading import publish_apk

pytestmark = pytest.mark.anyio


async def test_a_device_of_the_demo_is_shown_with_its_owner_applications_and_use(
    each_platform: OnNats | OnRabbitMQ,
) -> None:
    async with Staff(each_platform) as admin:
        path = f"/admin/devices/{each_platform.demo['device']}"

        async def read_twice_and_asked_for_changes() -> list[httpx.Response] | None:
            """None where the second was no hit, as where the feed was held up for two seconds."""
            answers = [await admin.read(path), await admin.read(path)]
            etag = answers[1].headers["ETag"]
            answers.append(await admin.http.get(path, headers={"If-None-Match": etag}))
            return answers if all("hit" in answer.headers["Cache-Status"] for answer in answers[1:]) else None

        first, second, unchanged = await eventually(read_twice_and_asked_for_changes)
        view = first.json()
        assert view["device"]["state"] == "running"
        assert view["owner"]["id"] == view["device"]["ownerId"]
        assert view["applications"]
        assert view["usage"]["openSince"]
        assert first.headers["X-View-Complete"] == "true"
        assert second.content == first.content
        assert (datetime.now(UTC) - datetime.fromisoformat(second.headers["X-Fresh-As-Of"])) < timedelta(seconds=10)
        assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_a_change_in_any_of_the_four_services_is_seen_by_everybody(each_platform: OnNats | OnRabbitMQ) -> None:
    """Nobody carries a token; both BFFs show the view that had been cached before each change."""
    async with Staff(each_platform) as admin, await admin.new_customer() as customer:
        device, me = customer.ids["device"], customer.ids["user"]
        looks = [(admin, f"/admin/devices/{device}"), (customer, f"/my/devices/{device}")]

        async def seen_by_all(holds: Callable[[Any], bool]) -> None:
            for person, path in looks:
                await eventually(lambda person=person, path=path: _holds(person, path, holds))
                await eventually(lambda person=person, path=path: _is_hit(person, path))

        await seen_by_all(lambda view: view["device"]["name"] == "Phone" and view["applications"] == [])
        await admin.ask("device", "PATCH", f"/v1/devices/{device}", {"name": "Renamed"})
        await seen_by_all(lambda view: view["device"]["name"] == "Renamed")
        version = await _new_app_version(admin)
        await admin.ask("app", "POST", "/v1/installations", {"deviceId": device, "appVersionId": version})
        await seen_by_all(lambda view: [each["appName"] for each in view["applications"]] == ["Chess"])
        began = datetime.now(UTC) - timedelta(seconds=90)
        run = {"runId": str(uuid4()), "deviceId": device, "userId": me, "startedAt": began.isoformat()}
        await admin.ask("billing", "POST", "/v1/usage-records", run)
        await seen_by_all(lambda view: view["usage"]["openSince"] is not None)
        looks = [(admin, f"/admin/devices/{device}"), (customer, "/my/home")]
        await admin.ask("user", "PATCH", f"/v1/users/{me}", {"name": "Renamed too"})
        await seen_by_all(lambda view: (view.get("owner") or view["profile"])["name"] == "Renamed too")
        await admin.ask("device", "POST", f"/v1/devices/{device}/unassign")
        await seen_by_all(lambda view: view["owner"] is None if "owner" in view else view["devices"]["total"] == 0)
        gone = await customer.read(f"/my/devices/{device}", carry=False)
        assert gone.status_code == 404


async def _holds(person: Person, path: str, holds: Callable[[Any], bool]) -> bool:
    return holds(await person.json(path, carry=False))


async def _is_hit(person: Person, path: str) -> bool:
    return "hit" in (await person.read(path, carry=False)).headers["Cache-Status"]


async def _new_app_version(admin: Staff) -> str:
    content = apk(f"example.a{uuid4().hex[:8]}", label="Chess")
    return (await publish_apk(admin.http, content, url=admin.platform.url("app")))["id"]


async def test_each_service_can_have_a_database_of_its_own(platform_on_rabbitmq: OnRabbitMQ) -> None:
    urls = list(platform_on_rabbitmq.databases.values())
    assert len(set(urls)) == len(urls) == 7
