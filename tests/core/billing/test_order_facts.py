"""An order is what happened to it: its row is the fold of its facts, whenever they were written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_core.billing.orders import facts
from cloudphone_core.billing.orders.fold import STATES, Happened, fold, step
from cloudphone_core.billing.orders.history import rebuild
from cloudphone_core.billing.states import STEPS
from cloudphone_shared.contracts.purchase import OrderRefund
from cloudphone_shared.errors import StateConflict
from tests.core.billing.conftest import World
from tests.core.billing.customers import bought, fund, placed

pytestmark = pytest.mark.anyio
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=7)
PLACED = facts.Placed(
    tenant_id=ID, user_id=ID, plan_id=ID, plan_revision=3, plan_name="Pro", kind="purchase", parent_id=None,
    list_price=2000, discount=500, tax=240, amount=1500, credit=0, currency="EUR", coupon_code="SPRING",
    payment_method="wallet", payment_id=ID, saga_id=ID, auto_renew=True, device_id=None,
)  # fmt: skip
LATER = st.one_of(
    st.sampled_from([
        facts.ProvisioningBegun(), facts.Paid(), facts.Completed(period_end=BEGAN + timedelta(days=30)),
        facts.UndoingBegun(), facts.Cancelled(), facts.Expired(), facts.Failed(),
        facts.RefundBegun(refund_id=ID, amount=1500), facts.Refunded(refund_id=ID, amount=1500),
    ]),
    st.builds(facts.DeviceBound, device_id=st.uuids()),
    st.builds(facts.PartlyRefunded, refund_id=st.uuids(), amount=st.integers(1, 700)),
    st.builds(facts.Credited, by=st.uuids(), amount=st.integers(1, 700)),
)  # fmt: skip


def _walk(wanted: list[facts.Fact]) -> Iterator[Happened]:
    """The part of `wanted` that the order's table allows, from its beginning."""
    order = step(None, PLACED, BEGAN)
    yield Happened(PLACED, BEGAN)
    for number, fact in enumerate(wanted, 1):
        at = BEGAN + timedelta(seconds=number)
        try:
            order = step(order, fact, at)
        except StateConflict as refusal:
            assert STATES[type(fact)] not in STEPS[order.state], refusal
            continue
        yield Happened(fact, at)


@given(st.lists(LATER, max_size=12))
def test_any_walk_folds_to_the_same_order_from_what_is_stored_of_it(wanted: list[facts.Fact]) -> None:
    walked = list(_walk(wanted))
    present = step(None, PLACED, BEGAN)
    for one in walked[1:]:
        present = step(present, one.fact, one.at)
    stored = [(one.fact.type, one.fact.version, msgspec.json.encode(facts.written(one.fact)), one.at) for one in walked]
    again = fold(
        Happened(facts.read(kind, version, msgspec.json.decode(data)), at) for kind, version, data, at in stored
    )
    assert again == present
    assert (again.last_number, again.created_at, again.updated_at) == (len(walked), BEGAN, walked[-1].at)
    assert again.state == next(STATES[type(one.fact)] for one in reversed(walked) if type(one.fact) in STATES)


def test_what_was_written_in_an_older_version_is_read_as_what_it_means_today() -> None:
    old = {
        "tenantId": str(ID),
        "userId": str(ID),
        "planId": str(ID),
        "amount": 999,
        "currency": "USD",
        "deviceId": None,
    }
    fact = facts.read("placed", 1, old)
    assert isinstance(fact, facts.Placed)
    assert (fact.amount, fact.list_price, fact.discount, fact.plan_revision) == (999, 999, 0, 1)
    assert (fact.kind, fact.payment_method, fact.auto_renew) == ("purchase", "wallet", False)
    assert facts.read("provisioning-begun", 1, {"deviceId": str(ID)}) == facts.ProvisioningBegun(device_id=ID)
    for kind, version in (("placed", 3), ("lost", 1)):
        with pytest.raises(ValueError, match="No order has"):
            facts.read(kind, version, old)


async def test_rebuilding_from_the_first_fact_gives_the_same_rows(world: World) -> None:
    await fund(world, world.ana, 10_000)
    plan = await world.plan(price=1000)
    order = await bought(world, world.ana, plan)
    part = await bought(world, world.ana, plan)
    await placed(world, world.ana, plan, auto_renew=False)
    path = f"/v1/orders/{order['id']}/refund"
    await world.ok("POST", path, world.admin, msgspec.to_builtins(OrderRefund()))
    await world.ok("POST", f"/v1/orders/{part['id']}/refund", world.admin, {"amount": 300})
    all_rows = "SELECT * FROM billing.orders ORDER BY id"
    before = await world.rows(all_rows)
    assert await rebuild(world.database) == 0
    async with world.database.writing() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE billing.orders SET user_name = 'x', list_price = 5, discount = 0, amount = 5, refunded = 0,"
            " tax = 0, auto_renew = NOT auto_renew, device_id = gen_random_uuid(), updated_at = now(), saga_id = NULL"
        )
    assert await world.rows(all_rows) != before
    assert await rebuild(world.database) == len(before)
    assert await world.rows(all_rows) == before


async def test_what_happened_can_be_neither_changed_nor_forgotten(world: World) -> None:
    order_id = await placed(world, world.ana, await world.plan())
    for sql in (
        "UPDATE billing.order_events SET reason = 'x'",
        "DELETE FROM billing.order_events",
        "UPDATE billing.plan_versions SET price = 1",
        "TRUNCATE billing.order_events",
    ):
        with pytest.raises(Exception, match="never changes"):
            async with world.database.writing() as session:
                await (await session.connection()).exec_driver_sql(sql)
    assert len(await world.rows("SELECT 1 FROM billing.order_events WHERE order_id = :id", id=order_id)) == 1
