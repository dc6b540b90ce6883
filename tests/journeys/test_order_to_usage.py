"""From an order to a device, from its runs to their usage, and back: over the bus, and told live."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import pytest

from cloudphone_core.billing.subscribers import DEVICE_STARTED, DEVICE_STOPPED
from cloudphone_shared.auth import ServiceIdentity
from tests.conditions import eventually
from tests.journeys.client import PASSWORD, Person, Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.journeys.wire import run_of, wired
from tests.platform import Platform

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


async def test_who_pays_gets_a_device_its_runs_are_metered_and_a_refund_gives_it_back(
    each_platform: OnNats | OnRabbitMQ,
) -> None:
    async with Staff(each_platform) as admin, aiohttp.ClientSession() as sockets:
        node = await _node_with_a_phone(each_platform, admin)
        user = await admin.new_user()
        token = each_platform.sign_in("bff-user", user["email"], PASSWORD)["accessToken"]
        url, bearer = each_platform.url("bff-user") + "/my/events", {"Authorization": f"Bearer {token}"}
        async with Person(each_platform, "bff-user", token) as ana, sockets.ws_connect(url, headers=bearer) as live:
            assert (await _heard(live, "ready"))["id"]
            plan = await admin.ask("billing", "POST", "/v1/plans", {"name": "Basic", "price": 1999})
            await admin.give(user["id"], 1999)
            order = await ana.write("POST", "/my/orders", {"planId": plan["id"]})
            path = f"/my/orders/{order['id']}"

            async def is_placed() -> Any:
                await node.beat()
                return await _shown(ana, path, lambda view: view["order"]["deviceId"])

            shown = await eventually(is_placed)
            device = shown["order"]["deviceId"]
            assert (await _heard(live, "order.device.bound"))["data"] == {"orderId": order["id"], "deviceId": device}
            looked = f"/my/devices/{device}"
            view = await eventually(lambda: _shown(ana, looked, lambda view: view["device"]["state"] == "allocated"))
            assert view["device"]["ownerId"] == user["id"]

            async with wired(each_platform) as wire:
                start, stop = run_of(user["id"], device, began=2 * HOUR, ended=HOUR)
                told = await wire.tell(stop, start, stop)
                await wire.taken_in(DEVICE_STOPPED, told[0], told[2])
                await wire.taken_in(DEVICE_STARTED, told[1])
            await eventually(lambda: _shown(ana, looked, lambda view: view["usage"]["seconds"] == 3600))
            assert (await _heard(live, "usage.recorded"))["data"]["deviceId"] == device

            await eventually(lambda: _shown(ana, path, lambda view: view["order"]["state"] == "completed"))
            await admin.ask("billing", "POST", f"/v1/orders/{order['id']}/refund", {"reason": "it was too slow"})

            async def is_given_back() -> bool:
                found = await admin.ask("device", "GET", f"/v1/devices/{device}")
                return found["ownerId"] is None and found["state"] == "idle"

            await eventually(is_given_back)
            assert (await ana.read(looked)).status_code == 404


class Node:
    """One that nobody else reports of."""

    def __init__(self, place: str, bearer: dict[str, str]) -> None:
        self._place, self._bearer = place, bearer

    async def beat(self) -> bool:
        report = {"cpuLoad": 0.1, "memoryUsed": 1, "memoryTotal": 2, "storageUsed": 1, "storageTotal": 2}
        async with httpx.AsyncClient() as http:
            answer = await http.post(self._place, json={**report, "devicesRunning": 0}, headers=self._bearer)
        return answer.is_success


async def _node_with_a_phone(platform: Platform, admin: Staff) -> Node:
    fields = {"name": f"n {uuid4().hex}", "region": "eu", "capacity": 5}
    node = await admin.ask("device", "POST", "/v1/nodes", fields)
    template = (await admin.ask("device", "GET", "/v1/templates"))["items"][0]["id"]
    await admin.ask("device", "POST", "/v1/devices", {"name": "Free", "templateId": template, "nodeId": node["id"]})
    secret = json.loads(platform.environment["CLOUDPHONE_SERVICE_CLIENTS"])["device"]
    identity = ServiceIdentity("device", secret, platform.url("user"))
    bearer = {"Authorization": f"Bearer {await identity.token()}"}
    await identity.close()
    return Node(f"{platform.url('scheduler')}/v1/nodes/{node['id']}/heartbeat", bearer)


async def _shown(person: Person, path: str, holds: Callable[[Any], object]) -> Any:
    """The view, once it holds."""
    answer = await person.read(path)
    return answer.json() if answer.status_code == 200 and holds(answer.json()) else None


async def _heard(live: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    while True:
        answer = await live.receive(timeout=120)
        assert answer.type is aiohttp.WSMsgType.TEXT, answer
        message = json.loads(answer.data)
        if message["type"] == "ping":
            await live.send_json({"type": "pong"})
        if message["type"] == kind:
            return message
