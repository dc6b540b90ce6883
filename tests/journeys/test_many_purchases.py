"""A hundred purchases at once: as many succeed as there is money, or as there are devices, and nothing stays held.

By night each is tried on both buses, by day on one.
"""

import os

import pytest

from tests.conditions import eventually
from tests.journeys.client import Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ
from tests.journeys.shop import Customer, Shop

pytestmark = pytest.mark.anyio

BOTH = os.environ.get("CLOUDPHONE_TEST_PROFILE", "ci") == "nightly"
on_nats = pytest.param("platform", id="nats")
on_rabbitmq = pytest.param("platform_on_rabbitmq", id="rabbitmq")
AT_ONCE, GOOD_FOR, PRICE = 100, 10, 90


@pytest.mark.parametrize("each_platform", [on_nats, on_rabbitmq] if BOTH else [on_nats], indirect=True)
async def test_a_wallet_good_for_ten_pays_for_ten(each_platform: OnNats | OnRabbitMQ) -> None:
    async with Staff(each_platform) as admin:
        shop = await Shop(each_platform, admin).open(devices=GOOD_FOR + 2, price=PRICE)
        async with shop.customer(money=GOOD_FOR * PRICE) as ana:
            answers = await ana.buy_at_once(AT_ONCE)

            assert answers["insufficient-funds"] == AT_ONCE - GOOD_FOR, answers
            assert answers["provisioning"] + answers["completed"] == GOOD_FOR
            await _completed(shop, ana)
            await _nothing_is_held(ana, left=0)
            assert await ana.orders("cancelled") == AT_ONCE - GOOD_FOR


@pytest.mark.parametrize("each_platform", [on_nats, on_rabbitmq] if BOTH else [on_rabbitmq], indirect=True)
async def test_ten_devices_go_to_ten_and_the_others_get_their_money_back(each_platform: OnNats | OnRabbitMQ) -> None:
    async with Staff(each_platform) as admin:
        shop = await Shop(each_platform, admin).open(devices=GOOD_FOR, price=PRICE)
        async with shop.customer(money=AT_ONCE * PRICE) as ana:
            answers = await ana.buy_at_once(AT_ONCE)

            assert answers["provisioning"] + answers["completed"] == AT_ONCE, answers
            await _completed(shop, ana)
            waiting = AT_ONCE - GOOD_FOR
            assert await ana.wallet() == (0, waiting * PRICE)
            await shop.their_time_is_up(ana.ids["user"])
            await _nothing_is_held(ana, left=waiting * PRICE)
            assert await ana.orders("failed") == waiting


async def _completed(shop: Shop, ana: Customer) -> None:
    async def as_many_as_there_are() -> bool:
        await shop.beat()
        return await ana.orders("completed") >= GOOD_FOR

    await eventually(as_many_as_there_are, within=180, every=0.2)


async def _nothing_is_held(ana: Customer, *, left: int) -> None:
    async def nobody_waits() -> bool:
        return await ana.open_sagas() == 0

    await eventually(nobody_waits, within=180, every=0.2)
    assert await ana.wallet() == (left, 0)
    assert await ana.orders("completed") == GOOD_FOR
    assert await ana.quota_used() == GOOD_FOR
    held = await ana.devices_held()
    assert len(held) == len(set(held)) == GOOD_FOR
    trial = await ana.shop.admin.ask("billing", "GET", "/v1/trial-balance")
    assert trial["balanced"], trial
