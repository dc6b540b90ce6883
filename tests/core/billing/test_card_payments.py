"""A card is charged once or not at all, whatever the provider does between."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.core.billing.cards import CardServer, Shop, opened
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def card_server() -> Iterator[CardServer]:
    server = CardServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


async def test_a_recharge_is_paid_on_the_provider_s_page_and_credited_once(shop: Shop) -> None:
    payment = await shop.recharge(5000)
    assert payment["state"] == "pending"
    assert payment["checkoutUrl"].startswith(str(shop.provider.base_url))
    page = await shop.provider.get(payment["checkoutUrl"])
    assert "50.00 USD" in page.text
    paid = await shop.at_checkout(payment["checkoutUrl"])
    assert (paid.status_code, paid.headers["location"].partition("?")[0]) == (303, "http://shop.test/return")
    webhooks = await shop.webhooks()
    assert {(await shop.tell(webhook)).json()["outcome"] for webhook in webhooks} == {"applied"}
    assert {(await shop.tell(webhook)).json()["outcome"] for webhook in webhooks} == {"repeated"}
    after = await shop.payment(payment["id"])
    assert (after["state"], after["checkoutUrl"]) == ("success", None)
    assert (await shop.wallet(), await shop.booked("clearing")) == (5000, -5000)
