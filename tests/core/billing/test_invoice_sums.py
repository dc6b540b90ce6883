"""Whatever was bought, given back, used and corrected: invoices are its sum to the cent, and the ledger agrees."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudphone_core.billing.invoices.lines import Bought, GivenBack, Used, drafts
from cloudphone_core.billing.invoices.rounds import credit_refunds, settle_from_wallets
from cloudphone_core.billing.invoices.taxes import tax_in
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper

AT = datetime(2026, 3, 1, tzinfo=UTC)
percents = st.decimals(0, 100, places=3)
currencies = st.sampled_from(["EUR", "USD"])


@st.composite
def orders(draw: st.DrawFn) -> Bought:
    price = draw(st.integers(0, 10**7))
    discount = draw(st.integers(0, price))
    percent, order_id = draw(percents), uuid7()
    refund = draw(st.integers(0, price - discount))
    back = GivenBack(refund_id=uuid7(), order_id=order_id, amount=refund, tax=refund // 9, reason="r", at=AT)
    return Bought(
        order_id=order_id, device_id=None, currency=draw(currencies), description="Plan", discounted_by="Coupon",
        list_price=price, discount=discount, tax_percent=percent, tax=tax_in(price - discount, percent), at=AT,
        credit=draw(st.sampled_from([0, 0, 17])), given_back=[back] if refund else [],
    )  # fmt: skip


uses = st.builds(
    Used,
    device_id=st.uuids(version=4),
    rule_id=st.none() | st.uuids(version=4),
    currency=currencies,
    description=st.text(max_size=5),
    seconds=st.integers(-(10**6), 10**6),
    worth=st.decimals(-(10**9), 10**9, places=10),
    corrects=st.booleans(),
    first=st.just(AT),
    charge_ids=st.lists(st.integers(1, 9), max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(orders(), max_size=5), st.lists(uses, max_size=5), percents)
def test_an_invoice_is_orders_usage_and_corrections_each_rounded_once(
    bought: list[Bought], used: list[Used], percent: Decimal
) -> None:
    found = drafts(bought, used, percent)
    assert [draft.currency for draft in found] == sorted({each.currency for each in (*bought, *used)})
    for draft in found:
        mine = [order for order in bought if order.currency == draft.currency]
        spent = [use for use in used if use.currency == draft.currency]
        taken = sum(order.list_price - order.discount - order.credit for order in mine)
        back = [refund for order in mine for refund in order.given_back]
        rounded = [round(Fraction(use.worth) / 3600) for use in spent]
        assert draft.total == taken - sum(refund.amount for refund in back) + sum(rounded)
        assert draft.paid == taken - sum(refund.amount for refund in back)
        assert draft.usage == (sum(rounded), sum(tax_in(amount, percent) for amount in rounded))
        owed = sum(order.tax - tax_in(order.credit, order.tax_percent) for order in mine)
        assert draft.tax == owed - sum(refund.tax for refund in back) + draft.usage[1]
        assert all(abs(line.tax) <= abs(line.amount) for line in draft.lines)
        assert sorted(draft.charge_ids, key=list) == sorted(
            [*(() for line in draft.lines if line.order_id), *(use.charge_ids for use in spent)], key=list
        )


OFF = {
    "an invoice is not the sum of its lines": """
        SELECT i.number FROM billing.invoices i JOIN billing.invoice_lines l ON l.invoice_id = i.id
        GROUP BY i.id HAVING sum(l.amount) <> i.total OR sum(l.tax) <> i.tax OR i.due <> i.total - i.paid - i.credited
            OR i.due < 0""",
    "a line is not its charges": """
        SELECT l.invoice_id, l.number, l.amount, sum(c.worth) / 3600
        FROM billing.invoice_lines l JOIN billing.charges c ON c.invoice_id = l.invoice_id AND c.line_number = l.number
        GROUP BY l.invoice_id, l.number HAVING abs(2 * (sum(c.worth) - 3600 * l.amount)) > 3600""",
    "a line of usage has no charges": """
        SELECT l.invoice_id, l.number FROM billing.invoice_lines l WHERE l.kind IN ('usage', 'adjustment')
        AND NOT EXISTS (
            SELECT FROM billing.charges c WHERE c.invoice_id = l.invoice_id AND c.line_number = l.number)""",
    "an order or a charge is on no invoice": """
        SELECT o.id::text FROM billing.orders o WHERE o.state IN ('paid', 'completed', 'refunding', 'refunded')
        AND NOT EXISTS (SELECT FROM billing.invoice_lines l WHERE l.order_id = o.id AND l.kind = 'plan')
        UNION SELECT c.id::text FROM billing.charges c WHERE c.invoice_id IS NULL AND c.currency IS NOT NULL""",
    "what is due is not what the ledger has to receive": """
        SELECT a.owner_id FROM billing.accounts a WHERE a.kind = 'receivable' AND -a.balance <> (
            SELECT coalesce(sum(i.due), 0) FROM billing.invoices i WHERE i.user_id = a.owner_id)""",
    "what was charged is not what was earned": """
        SELECT i.user_id, sum(i.total), sum(i.tax) FROM billing.invoices i GROUP BY i.user_id
        HAVING (sum(i.total - i.tax), sum(i.tax)) <> (
            SELECT coalesce(sum(e.amount) FILTER (WHERE a.kind = 'revenue'), 0),
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'tax'), 0)
            FROM billing.entries e JOIN billing.accounts a ON a.id = e.account_id
            JOIN billing.transfers t ON t.id = e.transfer_id
            WHERE t.user_id = i.user_id AND t.kind <> 'recharge')""",
}


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2])
async def test_over_a_random_history_invoices_charges_orders_and_the_ledger_agree(world: World, seed: int) -> None:
    dice = random.Random(seed)
    rate = {"country": f"Y{'AB'[seed - 1]}", "name": "VAT", "percent": "17.5", "validFrom": "2026-01-01"}
    await world.ok("POST", "/v1/tax-rates", world.admin, rate)
    shopper = Shopper(world)
    bill_to = {"name": "Ana", "country": rate["country"]}
    await world.ok("PUT", f"/v1/users/{shopper.id}/bill-to", shopper.headers, bill_to)
    device = world.owners.device(world.acme)
    await shopper.subscribe(device.id, rate=dice.choice(["33.333", "17", "0.777"]), hours=2, price=999)
    bought, issued, runs = list[object](), list[dict[str, object]](), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        start = world.now
        run_id, hours = str(uuid7()), dice.uniform(0.1, 9)
        await shopper.run(device.id, 0, hours, runId=run_id, closedBy="reconcile")
        world.now += timedelta(hours=hours + 1)
        if dice.random() < 0.6:
            if dice.random() < 0.7:
                issued.extend(await shopper.issue())
            late = start + timedelta(hours=hours * dice.uniform(0.1, 0.9))
            told = {"runId": run_id, "deviceId": str(device.id), "userId": str(shopper.id), "closedBy": "event"}
            times = {"startedAt": start.isoformat(), "stoppedAt": late.isoformat()}
            await world.ok("POST", "/v1/usage-records", world.admin, {**told, **times})

    async def credit() -> None:
        if issued:
            path = f"/v1/invoices/{dice.choice(issued)['id']}/credit-notes"
            answer = await world.client.post(path, headers=world.admin, json={"reason": "an outage"})
            assert answer.status_code in (201, 409)

    async def buy() -> None:
        bought.append(await shopper.buy(dice.randint(1, 5000)))

    async def refund() -> None:
        if bought:
            order = bought.pop(dice.randrange(len(bought)))
            [(amount,)] = await world.rows("SELECT amount FROM billing.orders WHERE id = :id", id=order)
            await shopper.refund(order, dice.randint(1, amount))  # type: ignore[arg-type]

    async def settle() -> None:
        await shopper.recharge(dice.randint(1, 400))
        await settle_from_wallets(world.database, world.now)
        await credit_refunds(world.database, world.now)

    acts = [run, run, buy, refund, credit, settle]
    for _ in range(18):
        await dice.choice(acts)()
        world.now += timedelta(minutes=7)
        if dice.random() < 0.3:
            issued.extend(await shopper.issue())
    issued.extend(await shopper.issue())
    while await credit_refunds(world.database, world.now):
        pass
    assert runs and len(issued) > 2
    for what, query in OFF.items():
        assert await world.rows(query) == [], what
