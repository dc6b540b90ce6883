"""A card is charged once or not at all, whatever the provider does, and whenever we die."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from cloudphone_core.billing.payments.models import PaymentRow
from cloudphone_core.billing.payments.provider import CardProvider
from cloudphone_core.billing.payments.refunds import request_refund
from cloudphone_core.billing.payments.service import Payments
from cloudphone_shared.errors import Conflict, InsufficientFunds, StateConflict
from tests.conditions import eventually
from tests.core.billing.card_server import KEY, SECRET, CardServer
from tests.core.billing.cards import Shop, opened
from tests.servers import free_port
from tests.signing import Signer

pytestmark = pytest.mark.anyio

LOST_ANSWERS = ("fail-after", "cut-after")


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


async def held(shop: Shop, amount: int = 2000) -> str:
    """A payment that the customer has authorised."""
    payment_id = await shop.order(amount)
    asked = await shop.payments.hold(payment_id)
    assert asked.state == "action"
    assert asked.checkout_url is not None
    await shop.at_checkout(asked.checkout_url)
    await shop.hear()
    assert (await shop.payments.hold(payment_id)).state == "held"
    return str(payment_id)


async def captured(shop: Shop, amount: int = 2000) -> str:
    payment_id = await held(shop, amount)
    assert (await shop.payments.capture(UUID(payment_id))).state == "captured"
    await shop.hear()
    return payment_id


async def test_a_recharge_is_paid_on_the_provider_s_page_and_credited_once(shop: Shop) -> None:
    payment = await shop.recharge(5000)
    assert payment["state"] == "pending"
    page = await shop.provider.get(payment["checkoutUrl"])
    assert "50.00 USD" in page.text
    refused = await shop.at_checkout(payment["checkoutUrl"], "refuse")
    assert "declined" in refused.text
    await shop.hear()
    declined = await shop.payment(payment["id"])
    assert (declined["state"], declined["failure"]) == ("pending", "generic_decline")
    assert "Confirm" in (await shop.at_checkout(payment["checkoutUrl"], "secure")).text
    assert "declined" in (await shop.at_checkout(payment["checkoutUrl"], "fail")).text
    await shop.at_checkout(payment["checkoutUrl"], "secure")
    paid = await shop.at_checkout(payment["checkoutUrl"], "confirm")
    assert (paid.status_code, paid.headers["location"].partition("?")[0]) == (303, "http://shop.test/return")
    assert set(await shop.hear()) == {"applied"}
    after = await shop.payment(payment["id"])
    assert (after["state"], after["checkoutUrl"], after["failure"]) == ("success", None, None)
    assert (await shop.wallet(), await shop.booked("clearing")) == (5000, -5000)
    assert await shop.charged(after["providerReference"]) == 5000


async def test_the_same_key_never_opens_two_recharges(shop: Shop) -> None:
    keyed = {**shop.as_ana, "Idempotency-Key": "once"}
    first = (await shop.ok("POST", "/v1/recharges", keyed, {"amount": 900}))["data"]
    again = (await shop.ok("POST", "/v1/recharges", keyed, {"amount": 900}))["data"]
    assert (first["id"], first["checkoutUrl"]) == (again["id"], again["checkoutUrl"])
    other = await shop.client.post("/v1/recharges", headers=keyed, json={"amount": 901})
    assert other.status_code == 422
    for wrong in (
        {"amount": 99},
        {"amount": -900},
        {"amount": 9.5},
        {"amount": 10**15},
        {"amount": 900, "currency": "usd"},
    ):
        assert (await shop.client.post("/v1/recharges", headers=shop.as_ana, json=wrong)).status_code == 400
    somebody = {"amount": 900, "userId": str(shop.owners.user(shop.acme).id)}
    assert (await shop.client.post("/v1/recharges", headers=shop.as_ana, json=somebody)).status_code == 403


@pytest.mark.parametrize("fault", [*LOST_ANSWERS, "fail-before"])
async def test_a_checkout_whose_answer_was_lost_is_found_or_was_never_there(shop: Shop, fault: str) -> None:
    await shop.behave(f"checkout.create:{fault}")
    payment = await shop.recharge()
    assert (payment["state"], payment["checkoutUrl"]) == ("unknown", None)
    shop.now += timedelta(seconds=61)
    await shop.look()
    found = await shop.payment(payment["id"])
    if fault in LOST_ANSWERS:
        assert found["state"] == "pending"
        await shop.at_checkout(found["checkoutUrl"])
        await shop.hear()
        assert await shop.wallet() == 5000
    else:
        assert found["state"] == "unknown"
        shop.now += timedelta(minutes=5)
        await shop.look()
        assert (await shop.payment(payment["id"]))["state"] == "failed"


@pytest.mark.parametrize("fault", [*LOST_ANSWERS, "fail-before"])
async def test_a_capture_whose_answer_was_lost_is_found_out_and_never_repeated_blindly(shop: Shop, fault: str) -> None:
    payment_id = UUID(await held(shop))
    woken: list[object] = []

    async def wake(session: object, payment: PaymentRow) -> None:
        woken.append(payment.id)

    shop.payments.on_settled(wake)
    await shop.behave(f"intent.capture:{fault}")
    assert (await shop.payments.capture(payment_id)).state == "unknown"
    assert (await shop.payments.capture(payment_id)).state == "unknown"
    shop.now += timedelta(seconds=61)
    await shop.look()
    if fault == "fail-before":
        assert (await shop.payment(payment_id))["state"] == "unknown"
        shop.now += timedelta(minutes=5)
        await shop.look()
        assert (await shop.payment(payment_id))["state"] == "processing"
        assert (await shop.payments.capture(payment_id)).state == "captured"
    payment = await shop.payment(payment_id)
    assert (payment["state"], payment["history"][-2]["state"]) == (
        "success",
        "unknown" if fault != "fail-before" else "processing",
    )
    assert payment_id in woken
    assert await shop.charged(payment["providerReference"]) == 2000
    assert [await shop.booked(kind) for kind in ("clearing", "revenue", "tax")] == [-2000, 1681, 319]


async def test_a_refund_goes_to_the_card_once_however_often_its_answer_is_lost(shop: Shop) -> None:
    payment_id = UUID(await captured(shop))
    for fault, amount in (("fail-after", 300), ("cut-after", 200), ("fail-before", 500), ("", 1000)):
        async with shop.database.writing() as session:
            payment = await session.get_one(PaymentRow, payment_id)
            refund_id = (await request_refund(session, payment, amount, "unhappy", "admin", shop.now)).id
        await shop.behave(*([f"refund.create:{fault}"] if fault else []))
        assert await shop.payments.refund(refund_id) == ("unknown" if fault else "success")
        for _ in range(3 if fault else 0):
            shop.now += timedelta(minutes=5)
            await shop.look()
        assert await shop.payments.refund(refund_id) == "success"
    payment = await shop.payment(payment_id)
    assert (payment["refunded"], await shop.charged(payment["providerReference"])) == (2000, 0)
    assert [await shop.booked(kind) for kind in ("clearing", "revenue", "tax")] == [0, 0, 0]
    assert set(await shop.hear()) == {"applied"}
    async with shop.database.writing() as session:
        with pytest.raises(Conflict):
            await request_refund(session, await session.get_one(PaymentRow, payment_id), 1, "more", "admin", shop.now)


async def test_a_recharge_goes_back_to_the_card_only_while_it_is_in_the_wallet(shop: Shop) -> None:
    recharge = await shop.recharge(1000)
    await shop.at_checkout(recharge["checkoutUrl"])
    await shop.hear()
    path = f"/v1/payments/{recharge['id']}/refund"
    assert (await shop.client.post(path, headers=shop.as_ana, json={})).status_code == 403
    assert (await shop.client.post(path, headers=shop.staff(shop.rival), json={})).status_code == 404
    await shop.behave("refund.create:refuse")
    failed = await shop.ok("POST", path, shop.admin, {"amount": 400})
    assert (failed["data"]["state"], await shop.wallet()) == ("failed", 1000)
    keyed = {**shop.admin, "Idempotency-Key": "back"}
    for _ in range(2):
        back = await shop.ok("POST", path, keyed, {"amount": 400})
        assert (back["data"]["state"], await shop.wallet(), await shop.booked("clearing")) == ("success", 600, -600)
    too_much = await shop.client.post(path, headers=shop.admin, json={"amount": 601})
    assert too_much.status_code == 409
    payment = await shop.payment(recharge["id"])
    assert await shop.charged(payment["providerReference"]) == 600
    async with shop.database.writing() as session:
        row = await session.get_one(PaymentRow, UUID(recharge["id"]))
        await session.connection()
        spent = await request_refund(session, row, 600, "all of it", "admin", shop.now)
        assert spent.state == "pending"
        with pytest.raises((Conflict, InsufficientFunds)):
            await request_refund(session, row, 1, "and more", "admin", shop.now)


@pytest.mark.parametrize("fault", ["", *LOST_ANSWERS, "fail-before"])
async def test_what_nobody_wants_any_more_is_let_go_at_the_provider(shop: Shop, fault: str) -> None:
    payment_id = UUID(await held(shop))
    await shop.behave(*([f"intent.cancel:{fault}"] if fault else []))
    assert (await shop.payments.void(payment_id)).state == ("unknown" if fault else "voided")
    for _ in range(2):
        shop.now += timedelta(minutes=3)
        await shop.look()
    assert (await shop.payments.void(payment_id)).state == "voided"
    assert (await shop.payments.capture(payment_id)).state == "voided"
    reference = (await shop.payment(payment_id))["providerReference"]
    assert (await shop.provider.get(f"/control/things/{reference}")).json()["status"] == "canceled"
    assert await shop.booked("clearing") == 0


async def test_a_card_authorised_after_the_order_was_given_up_is_let_go(shop: Shop) -> None:
    payment_id = await shop.order()
    asked = await shop.payments.hold(payment_id)
    assert asked.checkout_url is not None
    await shop.behave("checkout.expire:fail-before")
    assert (await shop.payments.void(payment_id)).state == "unknown"
    await shop.at_checkout(asked.checkout_url)
    assert set(await shop.hear()) == {"applied"}
    shop.now += timedelta(minutes=3)
    await shop.look()
    payment = await shop.payment(payment_id)
    assert (payment["state"], payment["held"]) == ("failed", False)
    intent = (await shop.provider.get(f"/control/things/{payment['providerReference']}")).json()
    assert intent["status"] == "canceled"


async def test_an_unpaid_checkout_and_an_uncaptured_hold_end_at_their_time(shop: Shop) -> None:
    unpaid, forgotten = await shop.recharge(), await held(shop)
    shop.now += timedelta(minutes=31)
    await shop.look()
    over = await shop.payment(unpaid["id"])
    assert (over["state"], over["failure"], over["checkoutUrl"]) == ("failed", "expired", None)
    assert "This checkout is expired" in (await shop.at_checkout(unpaid["checkoutUrl"])).text
    assert (await shop.payment(forgotten))["held"]
    shop.now += timedelta(hours=25)
    await shop.look()
    payment = await shop.payment(forgotten)
    assert (payment["state"], payment["held"]) == ("failed", False)
    intent = (await shop.provider.get(f"/control/things/{payment['providerReference']}")).json()
    assert intent["status"] == "canceled"


async def test_webhooks_that_were_lost_are_not_missed(shop: Shop) -> None:
    payment = await shop.recharge()
    await shop.at_checkout(payment["checkoutUrl"])
    await shop.webhooks()
    shop.now += timedelta(minutes=2)
    await shop.look()
    assert ((await shop.payment(payment["id"]))["state"], await shop.wallet()) == ("success", 5000)


async def test_nobody_is_charged_twice_by_one_who_is_killed_between_asking_and_writing_it_down(
    shop: Shop, database_url: str, card_server: CardServer
) -> None:
    payment_id = UUID(await held(shop))
    await shop.behave("intent.capture:hang-after")
    dying = subprocess.Popen(  # noqa: ASYNC220
        [
            sys.executable,
            "-c",
            _CAPTURE,
            database_url,
            card_server.url,
            str(payment_id),
        ]
    )
    try:
        reference = (await shop.payment(payment_id))["providerReference"]

        async def taken() -> bool:
            thing = (await shop.provider.get(f"/control/things/{reference}")).json()
            return thing["status"] == "succeeded"

        await eventually(taken, every=0.05)
    finally:
        dying.kill()
        dying.wait()
    assert (await shop.payment(payment_id))["state"] == "processing"
    assert (await shop.payments.capture(payment_id)).state == "unknown"
    with pytest.raises(StateConflict):
        shop.now += timedelta(minutes=2)
        await shop.look()
        await shop.payments.void(payment_id)
    assert (await shop.payment(payment_id))["state"] == "success"
    assert (await shop.charged(reference), await shop.booked("clearing")) == (2000, -2000)


async def test_without_a_provider_nothing_was_asked_and_the_same_request_may_be_sent_again(
    shop: Shop, card_server: CardServer
) -> None:
    nowhere = CardProvider(
        api_key=KEY, api_url=f"http://127.0.0.1:{free_port()}", secrets=[SECRET], return_url="http://shop.test"
    )
    away = Payments(shop.database, lambda: shop.now, provider=nowhere)
    payment_id = await shop.order()
    for _ in range(12):
        with pytest.raises(Exception, match="unavailable"):
            await away.hold(payment_id)
    assert (await shop.payment(payment_id))["state"] == "pending"
    await away.close()
    assert (await shop.payments.hold(payment_id)).state == "action"


async def test_two_who_ask_at_once_ask_once(shop: Shop) -> None:
    payment_id = UUID(await held(shop))
    await shop.open_connections()
    states = await asyncio.gather(*(shop.payments.capture(payment_id) for _ in range(6)))
    assert {held.state for held in states} <= {"captured", "unknown"}
    assert [held.state for held in states].count("captured") >= 1
    payment = await shop.payment(payment_id)
    assert (payment["state"], await shop.charged(payment["providerReference"])) == ("success", 2000)
    assert await shop.booked("clearing") == -2000


_CAPTURE = """
import asyncio, sys
from datetime import UTC, datetime
from uuid import UUID
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.payments.provider import CardProvider
from cloudphone_core.billing.payments.service import Payments
from cloudphone_shared.database import Database

database_url, provider_url, payment_id = sys.argv[1:]
database = Database(database_url, schema=SCHEMA, service="billing", pool_size=2)
provider = CardProvider(
    api_key="sk_test_key", api_url=provider_url, secrets=["x"], return_url="http://shop.test", seconds=60
)
asyncio.run(Payments(database, lambda: datetime.now(UTC), provider=provider).capture(UUID(payment_id)))
"""
