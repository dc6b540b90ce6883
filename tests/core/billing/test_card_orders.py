"""A plan bought by card: the order waits for the customer, and follows what becomes of the money."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from cloudphone_core.billing.sagas.purchase import Shop as Purchasing
from cloudphone_core.billing.sagas.purchase import purchases
from tests.core.billing.card_server import CardServer
from tests.core.billing.cards import Shop, opened
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


async def bought(shop: Shop) -> dict[str, Any]:
    """An order of a plan for a device that the customer holds already."""
    device = shop.owners.device(shop.acme, shop.ana.id)
    wanted = {"planId": (await shop.plan())["id"], "deviceId": str(device.id), "paymentMethod": "card"}
    return (await shop.ok("POST", "/v1/orders", shop.as_ana, wanted))["data"]


async def go_on(shop: Shop, signer: Signer) -> None:
    """What the worker does."""
    clients = shop.owners.clients(signer, "billing")
    engine = purchases(shop.database, Purchasing(clients, shop.payments, lambda: shop.now))
    while await engine.take_due():
        pass
    await clients.__aexit__(None, None, None)


async def order_of(shop: Shop, order: dict[str, Any]) -> dict[str, Any]:
    return (await shop.ok("GET", f"/v1/orders/{order['id']}", shop.as_ana))["data"]


async def test_an_order_paid_by_card_is_completed_once_the_money_is_captured(shop: Shop, signer: Signer) -> None:
    order = await bought(shop)
    assert order["state"] == "pending"
    payment = await shop.payment(order["paymentId"])
    assert payment["checkoutUrl"] == order["checkoutUrl"]
    await shop.at_checkout(payment["checkoutUrl"])
    await shop.hear()
    await go_on(shop, signer)
    assert (await order_of(shop, order))["state"] == "completed"
    payment = await shop.payment(order["paymentId"])
    assert (payment["state"], await shop.charged(payment["providerReference"])) == ("success", order["amount"])


async def test_a_capture_without_an_answer_holds_the_order_up_and_charges_once(shop: Shop, signer: Signer) -> None:
    order = await bought(shop)
    await shop.at_checkout((await shop.payment(order["paymentId"]))["checkoutUrl"])
    await shop.hear()
    await shop.behave("intent.capture:cut-after")
    await go_on(shop, signer)
    assert (await shop.payment(order["paymentId"]))["state"] == "unknown"
    assert (await order_of(shop, order))["state"] == "provisioning"
    await shop.hear()
    await go_on(shop, signer)
    assert (await order_of(shop, order))["state"] == "completed"
    payment = await shop.payment(order["paymentId"])
    assert await shop.charged(payment["providerReference"]) == order["amount"] == -await shop.booked("clearing")


async def test_an_order_that_nobody_pays_ends_and_so_does_its_checkout(shop: Shop, signer: Signer) -> None:
    order = await bought(shop)
    url = (await shop.payment(order["paymentId"]))["checkoutUrl"]
    shop.now += timedelta(minutes=31)
    await shop.look()
    await go_on(shop, signer)
    assert (await order_of(shop, order))["state"] in ("cancelled", "expired")
    assert "This checkout is expired" in (await shop.at_checkout(url)).text
    assert await shop.booked("clearing") == 0
