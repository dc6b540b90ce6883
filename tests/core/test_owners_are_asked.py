"""Billing and app ask the real user and device services whose things they are told of."""

from collections.abc import AsyncIterator

import httpx
import pytest

from cloudphone_shared.clients import SERVICES
from tests.in_process import Services, running_services
from tests.servers import Postgres, Valkey

pytestmark = pytest.mark.anyio


@pytest.fixture
async def services(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Services]:
    urls = {service: await postgres.database() for service in SERVICES}
    async with running_services(urls, valkey.url) as running:
        yield running


async def test_whoever_may_see_a_user_or_a_device_may_see_what_is_theirs(services: Services) -> None:
    rival = await services.tenant("Rival")
    ana = await services.user("Ana")
    phone = await services.device("Pixel", owner=ana)
    order = await services.order(ana, deviceId=phone["id"])
    assert (order["userName"], order["deviceName"], order["tenantId"]) == ("Ana", "Pixel", services.tenant_id)
    installation = await services.installed(phone)
    insiders = [await services.signed_in(ana["email"]), await services.member("operator"), services.root]
    outsiders = [
        await services.member("operator", tenant=rival),
        await services.member("customer", tenant=rival),
        await services.member("customer"),
    ]
    places = [
        ("billing", f"/v1/orders/{order['id']}"),
        ("billing", f"/v1/users/{ana['id']}/orders"),
        ("billing", f"/v1/users/{ana['id']}/balance"),
        ("billing", f"/v1/users/{ana['id']}/usage"),
        ("billing", f"/v1/users/{ana['id']}/usage/days"),
        ("billing", f"/v1/devices/{phone['id']}/usage"),
        ("app", f"/v1/devices/{phone['id']}/installations"),
        ("app", f"/v1/installations/{installation['id']}"),
    ]
    for service, path in places:
        async with httpx.AsyncClient(transport=services.wires[service], base_url="http://core.test") as http:
            for who in insiders:
                assert (await http.get(path, headers=who)).status_code == 200, path
            for who in outsiders:
                assert (await http.get(path, headers=who)).status_code == 404, path


async def test_usage_is_recorded_for_a_real_user_and_device(services: Services) -> None:
    ana = await services.user("Ana")
    phone = await services.device("Pixel", owner=ana)
    record = {
        "runId": "018f0000-0000-7000-8000-000000000001", "deviceId": phone["id"], "userId": ana["id"],
        "startedAt": "2025-03-01T10:00:00Z", "stoppedAt": "2025-03-01T11:00:00Z",
    }  # fmt: skip
    made = await services.ask("POST", "billing", "/v1/usage-records", record)
    assert made["tenantId"] == services.tenant_id
    async with httpx.AsyncClient(transport=services.wires["billing"], base_url="http://core.test") as http:
        for wrong in ({"deviceId": ana["id"]}, {"userId": phone["id"]}):
            body = {**record, **wrong, "runId": "018f0000-0000-7000-8000-000000000002"}
            assert (await http.post("/v1/usage-records", headers=services.root, json=body)).status_code == 404
