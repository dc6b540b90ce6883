"""Demo rows look as if they had been made by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from cloudphone_core.billing.seed import SeedBalance, SeedName, SeedOrder, SeedPlan, SeedRun, SeedStep, seed
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
