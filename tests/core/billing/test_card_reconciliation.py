"""A day of the provider's books against ours: what is safe is repaired, what is not is named."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from cloudphone_core.billing.payments.models import PaymentRow
from cloudphone_core.billing.payments.reconciliation import reconcile_yesterday
from cloudphone_core.billing.payments.refunds import request_refund
from tests.core.billing.card_server import CardServer
from tests.core.billing.cards import Shop, opened
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


async def recharged(shop: Shop, amount: int, *, told: bool = True) -> str:
    payment = await shop.recharge(amount)
    await shop.at_checkout(payment["checkoutUrl"])
    if told:
        await shop.hear()
    else:
        await shop.webhooks()
    return payment["id"]


async def test_yesterday_s_differences_are_found_and_the_safe_ones_repaired(shop: Shop) -> None:
    good, lost = await recharged(shop, 1100), await recharged(shop, 1300, told=False)
    wrong, gone = await recharged(shop, 1700), await recharged(shop, 1900)
    async with shop.database.writing() as session:
        refund = await request_refund(
            session, await session.get_one(PaymentRow, UUID(good)), 100, "back", "admin", shop.now
        )
    await shop.behave("refund.create:fail-after")
    assert await shop.payments.refund(refund.id) == "unknown"
    reference = (await shop.payment(wrong))["providerReference"]
    charge = (await shop.provider.get(f"/control/things/{reference}")).json()["latest_charge"]
    await shop.provider.post(f"/control/things/{charge}", json={"amount_captured": 1701})
    async with shop.database.writing() as session:
        row = await session.get_one(PaymentRow, UUID(gone))
        row.provider_reference, booked = "pi_nowhere", row.booked_at
        assert booked is not None
    foreign = await shop.provider.post(
        "/v1/checkout/sessions",
        data={
            "mode": "payment", "line_items[0][quantity]": "1", "success_url": "http://shop.test",
            "line_items[0][price_data][currency]": "usd", "line_items[0][price_data][unit_amount]": "2300",
        },
    )  # fmt: skip
    await shop.at_checkout(foreign.json()["url"])
    before = await shop.wallet()

    day = booked.date().isoformat()
    report = (await shop.ok("POST", "/v1/payment-reconciliations", shop.admin, {"day": day}))["data"]
    assert report["error"] is None
    assert report["resolvedUnknown"] == 1
    found = {
        (one["kind"], one["ours"], one["theirs"], one["repaired"])
        for one in report["differences"]
        if one["paymentId"] in (good, lost, wrong, gone) or one["theirs"] == "capture"
    }
    assert ("state", "pending", "captured", True) in found
    assert ("amount", "1700 USD", "1701 USD", False) in found
    assert ("missing-there", "1900 USD", None, False) in found
    assert ("missing-here", None, "capture", False) in found
    assert not any(one["paymentId"] == good for one in report["differences"])
    assert await shop.wallet() == before + 1300
    assert report["captured"]["USD"] >= 1100 + 1300 + 1701 + 2300
    assert report["refunded"]["USD"] >= 100

    path = f"/v1/payment-reconciliations/{report['id']}"
    table = (await shop.client.get(f"{path}?format=csv", headers=shop.admin)).text.splitlines()
    assert table[0] == "kind,providerReference,paymentId,ours,theirs,repaired"
    assert len(table) == len(report["differences"]) + 1
    again = (await shop.ok("POST", "/v1/payment-reconciliations", shop.admin, {"day": day}))["data"]
    assert not any(one["kind"] == "state" for one in again["differences"])


async def test_yesterday_is_reconciled_once_and_again_only_where_it_failed(shop: Shop) -> None:
    shop.now += timedelta(days=400)

    async def reports() -> list[str | None]:
        listed = await shop.ok("GET", "/v1/payment-reconciliations?limit=100", shop.admin)
        yesterday = (shop.now - timedelta(days=1)).date().isoformat()
        return [one["error"] for one in listed["data"]["items"] if one["day"] == yesterday]

    await shop.behave("books.list:fail-before")
    await reconcile_yesterday(shop.payments)
    await reconcile_yesterday(shop.payments)
    [failed] = await reports()
    assert failed is not None
    shop.now += timedelta(hours=2)
    await reconcile_yesterday(shop.payments)
    await reconcile_yesterday(shop.payments)
    assert len(await reports()) in (1, 2)
    assert None in await reports()
    tomorrow = (shop.now + timedelta(days=1)).date().isoformat()
    early = await shop.client.post("/v1/payment-reconciliations", headers=shop.admin, json={"day": tomorrow})
    assert early.status_code == 400
