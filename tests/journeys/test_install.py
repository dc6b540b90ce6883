"""An app's way from the seller's file to a phone and off again, and what the phone's runs come to: on either bus."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.phone.adb import Adb, Connected
from tests.uploading import publish_apk

pytestmark = pytest.mark.anyio
TINY = Path(__file__).parents[1] / "data" / "tiny.apk"
PACKAGE = "org.cloudphone.tiny"
UNDER_WAY = {"pending", "downloading", "transferring", "installing", "verifying"}
WITHIN = 120.0


async def test_an_app_comes_onto_a_phone_and_off_again_and_each_run_of_the_phone_is_charged(
    each_platform: OnNats | OnRabbitMQ, tmp_path: Path
) -> None:
    async with Staff(each_platform) as admin, await admin.new_customer() as ana, _listening(ana) as ear:
        with each_platform.with_phones(tmp_path) as (farm, adb):
            screen, uploaded = Screen(ana), await publish_apk(admin.http, TINY.read_bytes(), under="/admin")
            version = {"appVersionId": uploaded["id"]}
            await screen.commanded("start", "running")

            farm.pause()
            asked = await ana.write("POST", f"{screen.path}/apps", version)
            id_ = asked["installationId"]
            assert asked == {"installationId": id_, "status": "pending"}
            await screen.everywhere(lambda view: _states(view)[id_] in UNDER_WAY)
            await screen.shows(lambda view: _states(view) == {id_: "downloading"})
            assert (await ana.http.post(f"{screen.path}/apps", json=version)).status_code == 409
            farm.resume()

            await screen.shows(lambda view: _states(view) == {id_: "installed"})
            await screen.is_kept(lambda view: view["applications"][0]["progress"] == 100)
            await ear.heard("app.installation.changed", installationId=id_, newState="installed")
            assert await _packages(admin, screen, adb) == [f"package:{PACKAGE}"]

            await screen.commanded("stop", "stopped")
            began, ended = await ear.heard("device.started"), await ear.heard("device.stopped")
            run = {name: ended[name] for name in ("deviceId", "startedAt", "stoppedAt")}
            assert began["startedAt"] == run["startedAt"]
            await ear.heard("usage.recorded", **run)
            lasted = datetime.fromisoformat(run["stoppedAt"]) - datetime.fromisoformat(run["startedAt"])
            charged = {"runs": 1, "seconds": int(lasted.total_seconds()), "openSince": None}
            await screen.shows(lambda view: charged.items() <= view["usage"].items())

            await screen.commanded("start", "running")
            assert await _packages(admin, screen, adb) == [f"package:{PACKAGE}"]
            asked = await ana.write("DELETE", f"{screen.path}/apps/{id_}")
            assert asked == {"installationId": id_, "status": "uninstalling"}
            await screen.everywhere(lambda view: _states(view).get(id_) in ("uninstalling", None))
            await screen.shows(lambda view: view["applications"] == [])
            await ear.heard("app.installation.changed", installationId=id_, newState="uninstalled")
            assert await _packages(admin, screen, adb) == []
            await screen.commanded("stop", "stopped")
            await screen.shows(lambda view: view["usage"]["runs"] == 2 and view["usage"]["openSince"] is None)


class Screen:
    """A customer's device, read with the token of his last write."""

    def __init__(self, person: Person) -> None:
        self._person, self.device = person, person.ids["device"]
        self.path = f"/my/devices/{self.device}"

    async def commanded(self, command: str, until: str) -> None:
        """No read after the command shows the device as it was before."""
        before = (await self._person.json(self.path))["device"]["state"]
        await self._person.write("POST", f"{self.path}/{command}")
        await self.everywhere(lambda view: view["device"]["state"] != before)
        await self.shows(lambda view: view["device"]["state"] == until)

    async def everywhere(self, holds: Callable[[Any], bool]) -> None:
        """At once, in whichever process."""
        for at in self._person.platform.urls("bff-user"):
            view = await self._person.json(self.path, at=at)
            assert holds(view), view

    async def shows(self, holds: Callable[[Any], bool]) -> None:
        """Sooner or later."""

        async def shown() -> bool:
            return holds(await self._person.json(self.path))

        await eventually(shown, WITHIN, every=0.05)

    async def is_kept(self, holds: Callable[[Any], bool]) -> None:
        """In the cache, whose answers are proven to be as new as any."""

        async def hit() -> bool:
            answer = await self._person.read(self.path)
            assert holds(answer.json()), answer.text
            return "hit" in answer.headers["Cache-Status"]

        await eventually(hit, WITHIN, every=0.05)


class Ear:
    """What a customer is told live."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    async def listen(self, live: aiohttp.ClientWebSocketResponse) -> None:
        async for answer in live:
            message = json.loads(answer.data)
            if message["type"] == "ping":
                await live.send_json({"type": "pong"})
            self._told.append(message)

    async def heard(self, kind: str, **facts: object) -> dict[str, Any]:
        """The data of the first message of that type with these facts."""

        def told() -> dict[str, Any] | None:
            of_kind = [message["data"] for message in self._told if message["type"] == kind]
            return next((data for data in of_kind if facts.items() <= data.items()), None)

        return await eventually(told, WITHIN)


@asynccontextmanager
async def _listening(person: Person) -> AsyncIterator[Ear]:
    ear, bearer = Ear(), {"Authorization": person.http.headers["Authorization"]}
    url = person.platform.url("bff-user") + "/my/events"
    async with aiohttp.ClientSession() as sockets, sockets.ws_connect(url, headers=bearer) as live:
        assert (await live.receive_json(timeout=60))["type"] == "ready"
        listening = asyncio.create_task(ear.listen(live))
        yield ear
        listening.cancel()


async def _packages(admin: Staff, screen: Screen, adb: Adb) -> list[str]:
    """The lines in which the phone itself names what was installed on it."""
    device = (await admin.json(f"/admin/devices/{screen.device}"))["device"]
    phone = Connected(adb, device["adbHost"], device["adbPort"])
    await phone.connect()
    return (await phone.shell("pm list packages -3")).split()


def _states(view: Any) -> dict[str, str]:
    return {each["id"]: each["state"] for each in view["applications"]}
