"""Demo rows look as if they had been made by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cloudphone_core.billing.seed import SeedBalance, SeedName, SeedOrder, SeedPlan, SeedRun, SeedStep, seed
from cloudphone_core.billing.seed_payments import SeedPayment
from cloudphone_core.billing.seed_sales import Sales, SeedCoupon, SeedRule, SeedSubscription, SeedTaxRate
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.contracts.rating import RuleDefinition
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World

pytestmark = pytest.mark.anyio
AT = datetime(2026, 3, 10, 8, tzinfo=UTC)


async def test_seeded_rows_are_read_and_changed_like_any_others(world: World) -> None:
    plan = SeedPlan(id=uuid7(), name="Gold", price=900, created_at=AT)
    user = SeedName(id=world.ana.id, name="Ana", email="ana@example.com", version=10**12 + 1)
    phone = SeedName(id=uuid7(), name="Pixel", version=10**12 + 1)
    order = SeedOrder(
        id=uuid7(),
        tenant_id=world.acme,
        user=user,
        device=phone,
        plan=plan,
        steps=[SeedStep(state="pending", at=AT), SeedStep(state="provisioning", at=AT + timedelta(minutes=1))],
    )
    runs = [
        SeedRun(
            id=uuid7(),
            run_id=uuid7(),
            tenant_id=world.acme,
            device_id=phone.id,
            user_id=user.id,
            started_at=AT + timedelta(hours=n),
            stopped_at=AT + timedelta(hours=n + 1) if n < 3 else None,
        )
        for n in range(4)
    ]
    balance = SeedBalance(user_id=user.id, tenant_id=world.acme, available=700, held=50, opened_at=AT)
    await seed(world.database, plans=[plan], orders=[order], runs=runs, balances=[balance])

    shown = await world.ok("GET", f"/v1/orders/{order.id}", world.as_ana)
    assert (shown["data"]["state"], shown["data"]["amount"], len(shown["data"]["history"])) == ("provisioning", 900, 2)
    assert shown["data"]["version"] == 10**12 + 1
    usage = await world.ok("GET", f"/v1/users/{user.id}/usage", world.as_ana)
    assert (usage["data"]["seconds"], usage["data"]["devices"][0]["runs"]) == (3 * 3600, 4)
    assert min(usage["entities"].values()) > 0
    wallet = (await world.ok("GET", f"/v1/users/{user.id}/balance", world.as_ana))["data"]
    assert (wallet["available"], wallet["held"]) == (700, 50)


async def test_a_seeded_purchase_was_paid_from_the_wallet_and_began_a_subscription(world: World) -> None:
    rule = SeedRule(
        id=uuid7(), name="A start", kind="per-use", definition=RuleDefinition(rate=Decimal(5)), created_at=AT
    )
    plan = SeedPlan(id=uuid7(), name="Gold", price=900, created_at=AT, rule_id=rule.id)
    user = SeedName(id=world.ana.id, name="Ana", email="ana@example.com", version=10**12 + 1)
    phone = SeedName(id=uuid7(), name="Pixel", version=10**12 + 1)
    way: tuple[OrderState, ...] = ("pending", "provisioning", "paid", "completed")
    steps = [SeedStep(state=state, at=AT) for state in way]
    order = SeedOrder(
        id=uuid7(), tenant_id=world.acme, user=user, device=phone, plan=plan, steps=steps, payment_id=uuid7()
    )
    assert order.payment_id is not None
    paid = SeedPayment(id=order.payment_id, tenant_id=world.acme, user_id=user.id, order_id=order.id, amount=900, at=AT)
    held = SeedSubscription(
        id=uuid7(), order_id=order.id, tenant_id=world.acme, user_id=user.id, device_id=phone.id, plan_id=plan.id,
        price=900, period_days=30, begun_at=AT,
    )  # fmt: skip
    sales = Sales(
        rules=[rule],
        tax_rates=[
            SeedTaxRate(id=uuid7(), country="DE", name="VAT", percent=Decimal(19), valid_from=AT.date(), created_at=AT)
        ],
        coupons=[SeedCoupon(id=uuid7(), code="WELCOME", percent=20, created_at=AT)],
        subscriptions=[held],
    )
    balance = SeedBalance(user_id=user.id, tenant_id=world.acme, available=100, opened_at=AT, paid=[paid])
    await seed(world.database, plans=[plan], orders=[order], runs=[], balances=[balance], sales=sales)

    shown = (await world.ok("GET", f"/v1/orders/{order.id}", world.as_ana))["data"]
    assert (shown["state"], shown["subscription"]["deviceId"]) == ("completed", str(phone.id))
    payment = (await world.ok("GET", f"/v1/payments/{order.payment_id}", world.as_ana))["data"]
    assert (payment["state"], payment["amount"], payment["orderId"]) == ("success", 900, str(order.id))
    assert (await world.ok("GET", f"/v1/users/{user.id}/balance", world.as_ana))["data"]["available"] == 100
    assert (await world.ok("GET", f"/v1/billing-rules/{rule.id}", world.admin))["data"]["name"] == "A start"
