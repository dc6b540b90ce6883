"""What is told us is believed only when it is signed, of now, and agrees with our rows; and then it is asked for."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudphone_shared.errors import StateConflict
from cloudphone_shared.ids import uuid7
from tests.core.billing.card_server import SECRET, CardServer
from tests.core.billing.cards import OLD_SECRET, Shop, opened, signed
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(database_url: str, signer: Signer, card_server: CardServer) -> AsyncIterator[Shop]:
    async with opened(database_url, signer, card_server) as shop:
        yield shop


async def paid(shop: Shop, amount: int = 5000) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A recharge that was paid, and the events of which nobody was told yet."""
    payment = await shop.recharge(amount)
    await shop.at_checkout(payment["checkoutUrl"])
    return payment, [msgspec.json.decode(webhook["body"]) for webhook in await shop.webhooks()]


async def outcomes(shop: Shop) -> list[tuple[str, str | None]]:
    """Of this test's deliveries, the latest first."""
    found = await shop.ok("GET", "/v1/webhook-deliveries?limit=5", shop.admin)
    return [(one["outcome"], one["detail"]) for one in found["data"]["items"]]


async def test_what_is_forged_stale_or_not_signed_is_refused_and_moves_nothing(shop: Shop) -> None:
    payment, [event, *_] = await paid(shop)
    good = signed(event)
    body, (moment, mac) = good["body"], good["signature"].split(",")
    for signature in (
        "", "nonsense", "t=1", f"{moment},v0={mac.partition('=')[2]}", f"{moment},v1=", "t=x,v1=y", f"{mac}",
        signed(event, "whsec_other")["signature"], signed(event, at=time.time() - 301)["signature"],
        signed({**event, "id": "evt_other"})["signature"], "t=1,v1=é", f"t=9{moment[2:]},{mac}",
    ):  # fmt: skip
        answer = await shop.tell({"body": body, "signature": signature.encode().decode("latin-1")})
        assert answer.status_code == 400, signature
    assert (await outcomes(shop))[0][0] == "refused"
    for wrong in (b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"id":"e","type":"t","data":3}'):
        told = signed(msgspec.Raw(wrong)) if wrong.isascii() else {"signature": signed({})["signature"]}
        answer = await shop.client.post(
            "/v1/webhooks/card", content=wrong, headers={"Stripe-Signature": told["signature"]}
        )
        assert answer.status_code == 400, wrong
    huge = await shop.client.post("/v1/webhooks/card", content=b"x" * 300_000)
    assert huge.status_code == 413
    assert ((await shop.payment(payment["id"]))["state"], await shop.wallet()) == ("pending", 0)
    assert (await shop.tell(good)).json() == {"outcome": "applied"}
    assert await shop.wallet() == 5000


async def test_both_secrets_are_good_while_one_replaces_the_other(shop: Shop) -> None:
    for secret in (SECRET, OLD_SECRET):
        _, [event, *_] = await paid(shop)
        assert (await shop.tell(signed(event, secret))).json() == {"outcome": "applied"}
    assert await shop.wallet() == 10_000


async def test_a_webhook_of_another_amount_currency_tenant_or_payment_moves_nothing(shop: Shop) -> None:
    payment, [event, *_] = await paid(shop)
    for field, value in (("amount", 1), ("currency", "eur"), ("id", "pi_other"), ("tenant", str(shop.rival))):
        told = deepcopy(event)
        told["id"] = f"evt_{field}_{uuid7()}"
        subject = told["data"]["object"]
        subject.update(
            {"metadata": {**subject["metadata"], "tenant_id": value}} if field == "tenant" else {field: value}
        )
        outcome = (await shop.tell(signed(told))).json()["outcome"]
        assert outcome == "refused", field
        assert (await shop.payment(payment["id"]))["state"] == "pending", field
    other = deepcopy(event)
    other["id"], other["data"]["object"]["metadata"] = f"evt_{uuid7()}", {"payment_id": str(uuid7())}
    assert (await shop.tell(signed(other))).json() == {"outcome": "ignored"}
    assert await shop.wallet() == 0
    assert (await shop.tell(signed(event))).json() == {"outcome": "applied"}
    assert await shop.wallet() == 5000


@pytest.mark.parametrize(("field", "value"), [("amount_total", 1), ("currency", "eur"), ("client_tenant", "")])
async def test_what_the_provider_itself_contradicts_moves_nothing(shop: Shop, field: str, value: object) -> None:
    payment, events = await paid(shop)
    session = next(event["data"]["object"] for event in events if event["type"].startswith("checkout."))
    memo = {"payment_id": payment["id"], "tenant_id": str(shop.rival)}
    wrong = {"metadata": memo} if field == "client_tenant" else {field: value}
    await shop.provider.post(f"/control/things/{session['id']}", json=wrong)
    intent = next(event for event in events if event["type"] == "payment_intent.succeeded")
    assert (await shop.tell(signed(intent))).json() == {"outcome": "refused"}
    assert ((await shop.payment(payment["id"]))["state"], await shop.wallet()) == ("pending", 0)


async def test_while_the_provider_cannot_be_asked_it_is_told_to_come_again(shop: Shop) -> None:
    payment, [event, *_] = await paid(shop)
    await shop.behave("checkout.retrieve:fail-before")
    assert (await shop.tell(signed(event))).status_code == 503
    assert (await shop.payment(payment["id"]))["state"] == "pending"
    assert (await shop.tell(signed(event))).json() == {"outcome": "applied"}
    assert await shop.wallet() == 5000


async def test_the_same_webhook_at_the_same_time_is_applied_once(shop: Shop) -> None:
    _, events = await paid(shop)
    await shop.open_connections()
    answers = await asyncio.gather(*(shop.tell(signed(event)) for event in events for _ in range(4)))
    assert all(answer.is_success for answer in answers)
    assert sorted(answer.json()["outcome"] for answer in answers).count("applied") == len(events)
    assert (await shop.wallet(), await shop.booked("clearing")) == (5000, -5000)


async def test_a_disputed_charge_is_a_loss_until_it_is_won(shop: Shop) -> None:
    payment, _ = await paid(shop)
    shop_view = await shop.payment(payment["id"])
    assert shop_view["state"] == "pending"
    await shop.payments.look(uuid_of(payment))
    reference = (await shop.payment(payment["id"]))["providerReference"]

    async def dispute(amount: int | None = None) -> str:
        wanted = {"paymentIntent": reference, "amount": amount}
        return (await shop.provider.post("/control/disputes", json=wanted)).json()["id"]

    won, lost, wrong = await dispute(), await dispute(700), await dispute(5001)
    told = await shop.webhooks()
    assert [(await shop.tell(webhook)).json()["outcome"] for webhook in told] == ["applied", "applied", "refused"]
    assert {(await shop.tell(webhook)).json()["outcome"] for webhook in told[:2]} == {"repeated"}
    assert (await shop.booked("losses"), await shop.booked("clearing")) == (-5700, 700)
    await shop.provider.post(f"/control/disputes/{won}", json={"status": "won"})
    await shop.provider.post(f"/control/disputes/{lost}", json={"status": "lost"})
    closing = await shop.webhooks()
    for webhook in reversed([*closing, *told]):
        await shop.tell(webhook)
    assert (await shop.booked("losses"), await shop.booked("clearing")) == (-700, -4300)
    listed = (await shop.ok("GET", "/v1/disputes", shop.staff(shop.acme)))["data"]["items"]
    assert {(one["state"], one["amount"]) for one in listed} == {("won", 5000), ("lost", 700)}
    assert (await shop.ok("GET", "/v1/disputes", shop.staff(shop.rival)))["data"]["items"] == []
    assert wrong.startswith("du_")


async def test_only_who_sees_all_tenants_reads_what_providers_told(shop: Shop) -> None:
    for path in ("/v1/webhook-deliveries", "/v1/payment-reconciliations"):
        for who in (shop.as_ana, shop.staff(shop.acme)):
            assert (await shop.client.get(path, headers=who)).status_code == 403
    assert (await shop.client.post("/v1/payment-reconciliations", headers=shop.as_ana, json={})).status_code == 403


def uuid_of(payment: dict[str, Any]) -> Any:
    return msgspec.convert(payment["id"], type(uuid7()))


STEPS = st.sampled_from(["pay", "refuse", "secure", "confirm", "fail", "capture", "void", "tell", "wait", "look"])
FAULTS = st.sampled_from(["", "fail-before", "fail-after", "cut-after"])
STORIES = st.lists(st.tuples(STEPS, FAULTS), min_size=3, max_size=10)


@pytest.fixture(scope="module")
def history(database_url: str, card_server: CardServer) -> Iterator[tuple[asyncio.Runner, Shop]]:
    """One shop for all stories."""
    with asyncio.Runner() as runner:
        ready: asyncio.Future[Shop] = runner.get_loop().create_future()
        over = asyncio.Event()

        async def keep() -> None:
            """Opened and closed by one task."""
            async with opened(database_url, Signer(), card_server) as shop:
                ready.set_result(shop)
                await over.wait()

        async def first() -> Shop:
            await asyncio.wait([ready, keeping], return_when=asyncio.FIRST_COMPLETED)
            return ready.result()

        async def end() -> None:
            over.set()
            await keeping

        keeping = runner.get_loop().create_task(keep())
        yield runner, runner.run(first())
        runner.run(end())


@settings(max_examples=settings().max_examples // 4, deadline=None)
@given(story=STORIES, order=st.randoms(use_true_random=False))
def test_in_whatever_order_things_happen_both_books_agree_in_the_end(
    history: tuple[asyncio.Runner, Shop], story: list[tuple[str, str]], order: Any
) -> None:
    runner, shop = history
    runner.run(tell_of(shop, story, order))


async def tell_of(shop: Shop, story: list[tuple[str, str]], order: Any) -> None:
    before = await shop.booked("clearing")
    await shop.behave()
    await shop.webhooks()
    payment_id = await shop.order(2000)
    url = (await shop.payments.hold(payment_id)).checkout_url or ""
    owed: list[dict[str, str]] = []
    for step, fault in [*story, ("tell", ""), ("void", "")]:
        on = {"capture": "intent.capture", "void": "*"}.get(step)
        await shop.behave(*([f"{on}:{fault}"] if on and fault else []))
        if step in ("pay", "refuse", "secure", "confirm", "fail"):
            await shop.at_checkout(url, step)
        elif step == "capture":
            with contextlib.suppress(StateConflict):
                await shop.payments.capture(payment_id)
        elif step == "void":
            with contextlib.suppress(StateConflict):
                await shop.payments.void(payment_id)
        elif step == "wait":
            shop.now += timedelta(minutes=order.choice([1, 3]))
        elif step == "look":
            await shop.look()
        owed += await shop.webhooks()
        if step == "tell":
            heard = [webhook for webhook in owed for _ in range(order.choice([0, 1, 1, 2]))]
            order.shuffle(heard)
            for webhook in heard:
                assert (await shop.tell(webhook)).status_code in (200, 503)
    await shop.behave()
    for _ in range(3):
        shop.now += timedelta(minutes=130)
        await shop.look()
    payment = await shop.payment(payment_id)
    assert payment["state"] in ("success", "failed"), story
    taken = 2000 if payment["state"] == "success" else 0
    assert await shop.charged(payment["providerReference"]) == taken
    assert before - await shop.booked("clearing") == taken
    if payment["providerReference"]:
        intent = (await shop.provider.get(f"/control/things/{payment['providerReference']}")).json()
        assert intent["status"] == ("succeeded" if taken else "canceled")
