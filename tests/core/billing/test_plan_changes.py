"""Another plan in the middle of a period: by the second, to nobody's advantage."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_core.billing.orders.plan_changes import difference, rest_worth
from tests.core.billing.conftest import World
from tests.core.billing.customers import available, bought, fund, shown
from tests.core.owners import problem

pytestmark = pytest.mark.anyio
START = datetime(2026, 1, 1, 7, 30, 15, 250_000, tzinfo=UTC)
PRICE = st.integers(0, 10**9)
PERIOD = st.integers(1, 3660)
PART = st.floats(0, 1)


def _at(days: int, part: float) -> tuple[datetime, datetime]:
    whole = timedelta(days=days)
    return START + whole, START + timedelta(seconds=int(whole.total_seconds() * part))


@given(PRICE, PRICE, PERIOD, PART)
def test_a_whole_period_is_the_whole_price_and_none_of_it_is_nothing(a: int, b: int, days: int, part: float) -> None:
    end, at = _at(days, part)
    assert rest_worth(a, START, end, START) == a
    assert rest_worth(a, START, end, end) == 0
    assert 0 <= rest_worth(a, START, end, at) <= a
    assert difference(a, b, START, end, START, paid=a) == b - a


@given(PRICE, PRICE, PERIOD, PART, st.floats(0, 1), PRICE)
def test_there_and_back_is_never_a_gain(
    old: int, new: int, days: int, part: float, later: float, discount: int
) -> None:
    """From a period paid with `old`, perhaps less a coupon, to a plan of `new` and back again, then or later."""
    end, at = _at(days, part)
    back_at = at + timedelta(seconds=int((end - at).total_seconds() * later))
    paid = max(0, old - discount)
    there = difference(paid, new, START, end, at, paid=paid)
    back = difference(new, old, START, end, back_at, paid=paid + there)
    assert paid + there >= 0
    assert paid + there + back >= 0
    used = rest_worth(new, START, end, at) - rest_worth(new, START, end, back_at)
    cheaper = min(used, rest_worth(old, START, end, at) - rest_worth(old, START, end, back_at))
    # Who comes back has paid at least for the cheaper of the two, all the time.
    assert there + back >= cheaper - (rest_worth(old, START, end, at) - rest_worth(old, START, end, back_at))
    if at == back_at:
        assert there + back >= 0


@given(PRICE, PRICE, PERIOD, PART, st.integers(0, 10**9))
def test_no_more_comes_back_than_was_paid(worth: int, new: int, days: int, part: float, paid: int) -> None:
    end, at = _at(days, part)
    assert difference(worth, new, START, end, at, paid=paid) >= -paid


def test_halves_are_rounded_to_even() -> None:
    end = START + timedelta(days=2)
    half = START + timedelta(days=1)
    assert [rest_worth(price, START, end, half) for price in (1, 3, 5, 7)] == [0, 2, 2, 4]


async def test_an_upgrade_is_charged_and_a_downgrade_credited_for_what_is_left(world: World) -> None:
    await fund(world, world.ana, 10_000)
    basic, pro = await world.plan(price=3000), await world.plan(name="Pro", price=6000)
    order = await bought(world, world.ana, basic)
    path = f"/v1/subscriptions/{order['subscription']['id']}/plan-change"
    world.now += timedelta(days=10)
    quote = (await world.ok("GET", f"{path}?planId={pro['id']}", world.as_ana))["data"]
    assert (quote["amount"], quote["currency"]) == (2000, "USD")
    changed = (await world.ok("POST", path, world.as_ana, {"planId": pro["id"]}))["data"]
    assert (changed["planId"], changed["periodEnd"]) == (pro["id"], order["subscription"]["periodEnd"])
    assert await available(world, world.ana) == 5000
    world.now += timedelta(days=10)
    await world.ok("POST", path, world.as_ana, {"planId": basic["id"]})
    assert await available(world, world.ana) == 6000
    orders = [await shown(world, one["id"]) for one in await _orders(world)]
    said = [one["history"][0]["says"] for one in orders if one["kind"] == "plan-change"]
    assert said == ["The plan was changed to Basic; 10.00 USD came back.", "The plan was changed to Pro for 20.00 USD."]
    # What came back with the change is not refunded again: 20.00 paid for the change, of which 10.00 are left.
    [upgrade] = [one for one in orders if one["amount"] == 2000]
    assert upgrade["refunded"] == 1000
    more = await world.client.post(f"/v1/orders/{upgrade['id']}/refund", headers=world.admin, json={"amount": 1001})
    assert (more.status_code, problem(more)["refundable"]) == (409, 1000)
    terms = await world.rows(
        "SELECT plan_id, ends_at - starts_at FROM billing.subscription_terms"
        " WHERE subscription_id = :id ORDER BY number",
        id=order["subscription"]["id"],
    )
    assert [(str(plan), lasted.days) for plan, lasted in terms] == [
        (basic["id"], 10),
        (pro["id"], 10),
        (basic["id"], 10),
    ]
    [entries] = await world.rows("SELECT sum(amount) AS total FROM billing.entries")
    assert entries.total == 0


async def test_a_change_that_cannot_be_is_refused(world: World) -> None:
    await fund(world, world.ana, 1500)
    basic = await world.plan(price=1000)
    order = await bought(world, world.ana, basic)
    path = f"/v1/subscriptions/{order['subscription']['id']}/plan-change"
    refused = {
        "same": basic,
        "other currency": await world.plan(currency="EUR"),
        "other period": await world.plan(periodDays=7),
        "other device": await world.plan(templateId=order["planId"]),
        "too dear": await world.plan(price=9000),
    }
    for name, plan in refused.items():
        answer = await world.client.post(path, headers=world.as_ana, json={"planId": plan["id"]})
        assert answer.status_code == 409, name
    assert problem(answer)["code"] == "insufficient-funds"
    tampered = {"planId": refused["too dear"]["id"], "amount": 1}
    assert (await world.client.post(path, headers=world.as_ana, json=tampered)).status_code == 400
    assert await available(world, world.ana) == 500
    assert (await shown(world, order["id"]))["subscription"] == order["subscription"]


async def _orders(world: World) -> list[dict[str, str]]:
    return (await world.ok("GET", f"/v1/users/{world.ana.id}/orders", world.as_ana))["data"]
