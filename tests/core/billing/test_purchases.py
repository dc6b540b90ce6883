"""Who pays gets a device, and who gets none pays nothing."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.billing.buying import PRICE, Market
from tests.core.billing.conftest import World
from tests.core.owners import problem
from tests.signing import Signer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def market(world: World, signer: Signer) -> AsyncIterator[Market]:
    market = Market(world, signer)
    await market.open()
    yield market


async def test_a_purchase_holds_asks_and_pays_when_the_device_is_there(market: Market) -> None:
    bought = await market.buy()
    assert bought.status_code == 201, bought.text
    order = bought.json()["data"]
    assert order["state"] == "provisioning" and await market.money() == (0, PRICE)
    saga = await market.saga(order["id"])
    assert (saga.state, saga.step, str(saga.id)) == ("waiting", "ALLOCATE_DEVICE", order["sagaId"])
    reply = await market.reply(saga.id)
    await market.work()
    done = await market.order(order["id"])
    assert (done["state"], done["deviceId"]) == ("completed", str(reply.device_id))
    assert done["subscription"]["state"] == "active"
    assert await market.money() == (0, 0)
    owners = market.world.owners
    assert owners.reservations[saga.id] == "committed"
    assert owners.confirmed == [(reply.allocation_id, reply.fencing_token)]
    assert await market.timeline(saga.id) == [
        ("VALIDATE_PLAN", "forward", "done"),
        ("CREATE_ORDER", "forward", "done"),
        ("HOLD_PAYMENT", "forward", "done"),
        ("ALLOCATE_DEVICE", "forward", "waiting"),
        ("ALLOCATE_DEVICE", "forward", "done"),
        ("CAPTURE_PAYMENT", "forward", "done"),
        ("ACTIVATE_ORDER", "forward", "done"),
    ]


async def test_for_want_of_a_device_the_money_comes_back_and_it_says_why(market: Market) -> None:
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    await market.no_device(saga.id, "no device in eu-west is free")
    await market.work()
    ended = await market.order(order["id"])
    assert ended["state"] == "failed"
    assert any("no device in eu-west is free" in event["reason"] for event in ended["history"])
    assert await market.money() == (PRICE, 0)
    assert market.world.owners.reservations[saga.id] == "released"
    assert (await market.saga(order["id"])).state == "compensated"


async def test_who_has_not_enough_is_told_how_much_and_nothing_stays_behind(world: World, signer: Signer) -> None:
    market = Market(world, signer)
    await market.open(money=PRICE - 1)
    refused = await market.buy()
    assert refused.status_code == 409
    told = problem(refused)
    assert (told["code"], told["available"], told["needed"]) == ("insufficient-funds", PRICE - 1, PRICE)
    assert (await market.order(told["orderId"]))["state"] == "cancelled"
    saga = await market.saga(told["orderId"])
    assert saga.state == "compensated" and world.owners.reservations[saga.id] == "released"
    assert ("HOLD_PAYMENT", "forward", "refused") in await market.timeline(saga.id)
    assert await market.money() == (PRICE - 1, 0)


async def test_a_quota_that_is_used_up_refuses_before_anything_is_ordered(market: Market) -> None:
    market.world.owners.quota = 0
    refused = await market.buy()
    assert (refused.status_code, problem(refused)["code"]) == (409, "quota-exceeded")
    assert await market.money() == (PRICE, 0)


async def test_a_device_that_is_held_already_is_paid_at_once(market: Market) -> None:
    device = market.world.owners.device(market.world.acme, market.world.ana.id)
    order = (await market.buy(deviceId=str(device.id))).json()["data"]
    assert (order["state"], order["deviceId"]) == ("completed", str(device.id))
    assert await market.money() == (0, 0) and not market.world.owners.reservations


async def test_one_key_buys_once_however_often_it_is_sent_at_once(market: Market) -> None:
    await market.world.fund(market.world.ana.id, 10 * PRICE)
    await market.world.open_connections()
    answers = await asyncio.gather(*(market.buy("one") for _ in range(6)))
    answers.append(await market.buy("one"))
    assert {answer.status_code for answer in answers} <= {201, 409}
    bought = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["data"]["id"] for answer in bought}) == 1
    assert all(problem(answer)["code"] == "request-in-flight" for answer in answers if answer.status_code == 409)
    assert answers[-1].status_code == 201 and answers[-1].headers["Idempotency-Replayed"] == "true"
    assert await market.money() == (10 * PRICE, PRICE)
    other = await market.buy("one", autoRenew=False)
    assert (other.status_code, problem(other)["code"]) == (422, "idempotency-key-reused")


async def test_a_refusal_is_repeated_with_its_key(world: World, signer: Signer) -> None:
    market = Market(world, signer)
    await market.open(money=0)
    first, again = [problem(await market.buy("poor")) for _ in range(2)]
    assert first["code"] == "insufficient-funds" and first["orderId"] == again["orderId"]


async def test_while_nobody_counts_quotas_nothing_is_bought_unseen(market: Market) -> None:
    market.world.owners.away.add("user-quotas")
    without, with_key = await market.buy(), await market.buy("later")
    assert (without.status_code, with_key.status_code) == (503, 503)
    market.world.owners.away.clear()
    await asyncio.sleep(0)
    for _ in range(200):
        await market.work()
        again = await market.buy("later")
        if again.status_code == 201:
            break
    assert again.status_code == 201
    assert await market.money() == (0, PRICE)


async def test_a_device_that_nobody_waits_for_is_given_back_with_its_token(market: Market) -> None:
    stranger = await market.reply(uuid7(), fencing_token=3)
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    cancelled = await market.world.ok(
        "POST", f"/v1/orders/{order['id']}/cancel", market.world.as_ana, {"reason": "changed her mind"}
    )
    assert cancelled["data"]["state"] == "cancelled" and await market.money() == (PRICE, 0)
    late = await market.reply(saga.id, fencing_token=9)
    await market.say(late)
    given = await market.released()
    assert given[:2] == [(str(stranger.allocation_id), 3), (str(late.allocation_id), 9)]
    assert (await market.order(order["id"]))["deviceId"] is None


async def test_the_same_reply_twice_binds_one_device_and_gives_nothing_back(market: Market) -> None:
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    before = len(await market.released())
    reply = await market.reply(saga.id)
    await market.say(reply)
    await market.work()
    await market.say(reply)
    other = await market.reply(saga.id, fencing_token=8)
    assert (await market.order(order["id"]))["deviceId"] == str(reply.device_id)
    assert (await market.released())[before:] == [(str(other.allocation_id), 8)]


@pytest.mark.parametrize("answered", [False, True])
async def test_an_operator_turns_back_what_is_not_paid_and_nothing_after(market: Market, answered: bool) -> None:
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    if answered:
        await market.reply(saga.id)
    path, admin = f"/v1/sagas/{saga.id}/cancel", market.world.admin
    told = (await market.world.ok("POST", path, admin, {"reason": "fraud"}))["data"]
    assert told["saga"]["state"] == "compensated" and told["saga"]["failure"] == "fraud"
    assert (await market.order(order["id"]))["state"] == "cancelled" and await market.money() == (PRICE, 0)
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    await market.reply(saga.id)
    await market.work()
    answer = await market.world.client.post(f"/v1/sagas/{saga.id}/cancel", headers=admin, json={})
    assert (answer.status_code, problem(answer)["code"]) == (409, "state-conflict")


async def test_a_scheduler_that_never_answers_is_waited_for_no_longer_than_promised(market: Market) -> None:
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    assert saga.deadline_at and 11 * 60 < (saga.deadline_at - saga.created_at).total_seconds() < 13 * 60
    async with market.world.database.writing() as session:
        row = await session.get_one(type(saga), saga.id)
        row.wake_at = row.deadline_at = row.created_at
    await market.work()
    assert (await market.order(order["id"]))["state"] == "failed" and await market.money() == (PRICE, 0)


async def test_after_the_payment_it_is_activated_however_long_that_takes(market: Market) -> None:
    order = (await market.buy()).json()["data"]
    saga = await market.saga(order["id"])
    await market.reply(saga.id)
    market.world.owners.away.add("scheduler")
    for _ in range(400):
        await market.work()
        if (await market.saga(order["id"])).alarmed_at:
            break
    stuck = (await market.world.ok("GET", "/v1/sagas?alarmed=true", market.world.admin))["data"]["items"]
    assert [UUID(each["id"]) for each in stuck] == [saga.id] and stuck[0]["step"] == "ACTIVATE_ORDER"
    assert (await market.order(order["id"]))["state"] == "paid"
    totals = (await market.world.ok("GET", "/v1/sagas/totals", market.world.admin))["data"]
    assert totals["alarmed"] == 1
    market.world.owners.away.clear()
    told = (await market.world.ok("POST", f"/v1/sagas/{saga.id}/resume", market.world.admin))["data"]
    assert told["saga"]["state"] == "completed" and told["saga"]["alarmedAt"] is None
