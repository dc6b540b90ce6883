"""From an order to a device, from its runs to their usage, and back: over the bus, and told live."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from cloudphone_core.billing.subscribers import DEVICE_STARTED, DEVICE_STOPPED
from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.journeys.shop import Shop
from tests.journeys.wire import run_of, wired

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


async def test_an_order_gets_a_device_its_runs_are_metered_and_a_refunded_one_gives_it_back(
    each_platform: OnNats | OnRabbitMQ,
) -> None:
    async with Staff(each_platform) as admin, aiohttp.ClientSession() as sockets:
        shop = await Shop(each_platform, admin).open(devices=1, price=1999)
        async with shop.customer(money=5000) as ana:
            url, bearer = (
                each_platform.url("bff-user") + "/my/events",
                {"Authorization": ana.http.headers["Authorization"]},
            )
            async with sockets.ws_connect(url, headers=bearer) as live:
                assert (await _heard(live, "ready"))["id"]
                order = (await ana.buy()).json()
                path = f"/my/orders/{order['id']}"

                async def is_placed() -> Any:
                    await shop.beat()
                    return await _shown(ana, path, lambda view: view["order"]["state"] == "completed")

                shown = await eventually(is_placed)
                device = shown["order"]["deviceId"]
                assert (await _heard(live, "order.device.bound"))["data"] == {
                    "orderId": order["id"],
                    "deviceId": device,
                }
                looked = f"/my/devices/{device}"
                view = await eventually(
                    lambda: _shown(ana, looked, lambda view: view["device"]["state"] == "allocated")
                )
                assert view["device"]["ownerId"] == ana.ids["user"]
                assert await ana.wallet() == (3001, 0)

                async with wired(each_platform) as wire:
                    start, stop = run_of(ana.ids["user"], device, began=2 * HOUR, ended=HOUR)
                    told = await wire.tell(stop, start, stop)
                    await wire.taken_in(DEVICE_STOPPED, told[0], told[2])
                    await wire.taken_in(DEVICE_STARTED, told[1])
                await eventually(lambda: _shown(ana, looked, lambda view: view["usage"]["seconds"] == 3600))
                assert (await _heard(live, "usage.recorded"))["data"]["deviceId"] == device

                await admin.ask("billing", "POST", f"/v1/orders/{order['id']}/refund", {"reason": "the journey"})

                async def is_given_back() -> bool:
                    found = await admin.ask("device", "GET", f"/v1/devices/{device}")
                    return found["ownerId"] is None and found["state"] == "idle"

                await eventually(is_given_back)
                assert (await ana.read(looked)).status_code == 404
                await eventually(lambda: _shown(ana, path, lambda view: view["order"]["state"] == "refunded"))
                assert await ana.wallet() == (5000, 0)


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
