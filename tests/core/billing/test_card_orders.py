"""A plan bought by card: the order waits for the customer, and follows what becomes of the money."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from cloudphone_core.billing.orders.refunds import follow_refunds
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
    assert (await order_of(shop, order))["checkoutUrl"] is None


async def test_an_order_s_refund_goes_back_to_the_card_and_ends_the_order(shop: Shop, signer: Signer) -> None:
    order = await bought(shop)
    await shop.at_checkout(order["checkoutUrl"])
    await shop.hear()
    await go_on(shop, signer)
    reference = (await shop.payment(order["paymentId"]))["providerReference"]
    path = f"/v1/orders/{order['id']}/refund"
    await shop.behave("refund.create:fail-after")
    await shop.ok("POST", path, shop.admin, {"amount": 999})
    assert (await order_of(shop, order))["state"] == "completed"
    await shop.look()
    shop.now += timedelta(minutes=5)
    await shop.look()
    await follow_refunds(shop.database, shop.now)
    assert (await order_of(shop, order))["refunded"] == 999
    await shop.ok("POST", path, shop.admin, {})
    await shop.look()
    await follow_refunds(shop.database, shop.now)
    assert (await order_of(shop, order))["state"] == "refunded"
    assert (await shop.charged(reference), await shop.booked("clearing")) == (0, 0)
    assert (await shop.client.post(path, headers=shop.admin, json={})).status_code == 409
