"""A plan bought by card: the purchase waits for its holder, and for the provider's word where an answer was lost."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.core.billing.buying import PRICE, Market
from tests.core.billing.card_server import CardServer
from tests.core.billing.cards import Shop, opened
from tests.core.billing.conftest import World
from tests.core.owners import problem
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


@pytest.fixture
async def market(shop: Shop, signer: Signer) -> Market:
    market = Market(shop, signer)
    await market.open(money=0)
    return market


async def presented(shop: Shop, market: Market) -> dict[str, Any]:
    """An order whose card is authorised."""
    order = (await market.buy(paymentMethod="card")).json()["data"]
    payment = await shop.payment(order["paymentId"])
    assert order["state"] == "pending"
    await shop.at_checkout(payment["checkoutUrl"])
    await shop.hear()
    await market.work()
    assert (await market.order(order["id"]))["state"] == "provisioning"
    return order


async def test_it_waits_for_the_card_and_charges_when_the_device_is_there(shop: Shop, market: Market) -> None:
    order = await presented(shop, market)
    reference = (await shop.payment(order["paymentId"]))["providerReference"]
    await market.reply((await market.saga(order["id"])).id)
    await market.work()
    assert (await market.order(order["id"]))["state"] == "completed"
    assert await shop.charged(reference) == PRICE


async def test_a_card_that_is_never_presented_lets_the_order_expire(shop: Shop, market: Market) -> None:
    order = (await market.buy(paymentMethod="card")).json()["data"]
    shop.now += timedelta(hours=2)
    saga = await market.saga(order["id"])
    async with shop.database.writing() as session:
        row = await session.get_one(type(saga), saga.id)
        row.wake_at = row.deadline_at = row.created_at
    await market.work()
    assert (await market.order(order["id"]))["state"] == "expired"
    assert (await shop.payment(order["paymentId"]))["state"] == "failed"


async def test_for_want_of_a_device_nothing_is_taken_from_the_card(shop: Shop, market: Market) -> None:
    order = await presented(shop, market)
    reference = (await shop.payment(order["paymentId"]))["providerReference"]
    await market.no_device((await market.saga(order["id"])).id)
    await market.work()
    assert (await market.order(order["id"]))["state"] == "failed"
    intent = (await shop.provider.get(f"/control/things/{reference}")).json()
    assert intent["status"] == "canceled"


async def test_a_capture_whose_answer_is_lost_is_found_out_and_not_repeated(shop: Shop, market: Market) -> None:
    order = await presented(shop, market)
    reference = (await shop.payment(order["paymentId"]))["providerReference"]
    await shop.behave("intent.capture:cut-after")
    await market.reply((await market.saga(order["id"])).id)
    await market.work()
    saga = await market.saga(order["id"])
    assert (saga.state, saga.step) in (("waiting", "CAPTURE_PAYMENT"), ("completed", "ACTIVATE_ORDER"))
    shop.now += timedelta(hours=1)
    await shop.look()
    await market.work()
    assert (await market.order(order["id"]))["state"] == "completed"
    assert await shop.charged(reference) == PRICE


async def test_where_no_cards_are_taken_nothing_is_ordered_by_one(world: World, signer: Signer) -> None:
    market = Market(world, signer)
    await market.open(money=0)
    refused = await market.buy(paymentMethod="card")
    assert refused.status_code == 409 and "orderId" not in problem(refused)
