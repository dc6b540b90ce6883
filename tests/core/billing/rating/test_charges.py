"""Charges follow from the facts, whatever order they come in; what is invoiced is corrected, never altered."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from cloudphone_core.billing.rating import charges
from cloudphone_shared.errors import Conflict
from cloudphone_shared.ids import uuid7
from tests.core.billing.rating.conftest import Rated, worth

pytestmark = pytest.mark.anyio


async def test_a_run_is_charged_once_however_often_it_is_told(rated: Rated) -> None:
    device, rule = uuid7(), await rated.hourly(120)
    await rated.subscribe(device, rule_id=rule["id"], since=-48, hours=1)
    told = {"runId": str(uuid7())}
    for _ in range(2):
        await rated.world.run(device, rated.world.ana.id, -5, -2.5, **told)
        await rated.rate()
    found = await rated.charges(device)
    assert [(row.seconds, row.included, row.description) for row in found] == [
        (3600, True, "Within the plan's hours"), (5400, False, "Tier 1"),
    ]  # fmt: skip
    assert worth(found) == 180
    assert {row.rule_id for row in found} == {None, UUID(rule["id"])}
    assert await rated.world.rows("SELECT 1 FROM billing.rating_due") == []


async def test_any_order_of_facts_comes_to_the_same_charges(rated: Rated) -> None:
    rule, hours = await rated.hourly("7.5"), [(-30.25, -20), (-15, -14.999), (-10, -9.5)]
    sums: list[object] = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        device = uuid7()
        await rated.subscribe(device, rule_id=rule["id"], since=-40, hours=4)
        for place in order:
            await rated.world.run(device, rated.world.ana.id, *hours[place])
            await rated.rate()
        sums.append([(row.started_at, row.stopped_at, row.worth, row.included) for row in await rated.charges(device)])
    assert sums[0] == sums[1] == sums[2]


async def test_a_run_without_a_subscription_costs_nothing_until_there_is_one(rated: Rated) -> None:
    rule, device = await rated.hourly(60), rated.world.owners.device(rated.world.acme).id
    await rated.world.run(device, rated.world.ana.id, -3, -1)
    await rated.rate()
    [free] = await rated.charges(device)
    assert (free.worth, free.currency, free.description) == (0, None, "No subscription")
    assert await rated.invoice(rated.world.ana.id) == 0
    await rated.subscribe(device, rule_id=rule["id"], since=-2)
    await rated.rate()
    assert worth(await rated.charges(device)) == 60


async def test_what_is_invoiced_is_corrected_by_the_next_invoice(rated: Rated) -> None:
    device, rule, run = uuid7(), await rated.hourly(60), {"runId": str(uuid7())}
    await rated.subscribe(device, rule_id=rule["id"], since=-48, hours=1)
    await rated.world.run(device, rated.world.ana.id, -8, -4, **run, closedBy="heartbeat")
    await rated.rate()
    assert await rated.invoice(rated.world.ana.id) == 180
    before = await rated.charges(device)
    await rated.world.run(device, rated.world.ana.id, -8, -6, **run)
    await rated.world.run(device, rated.world.ana.id, -20, -19)
    await rated.rate()
    after = await rated.charges(device)
    assert [row for row in after if row.invoice_id] == before
    assert worth(after) == 120
    opened = [row for row in after if row.invoice_id is None]
    assert [row.correction for row in opened if row.started_at < rated.world.now - timedelta(hours=9)] == [False]
    assert {row.correction for row in opened if row.started_at > rated.world.now - timedelta(hours=9)} == {True}
    assert await rated.invoice(rated.world.ana.id) == -60
    assert await rated.invoice(rated.world.ana.id) == 0


async def test_a_charge_is_claimed_once_and_then_never_changes(rated: Rated) -> None:
    device, rule = uuid7(), await rated.hourly(60)
    await rated.subscribe(device, rule_id=rule["id"], since=-48)
    await rated.world.run(device, rated.world.ana.id, -8, -4)
    async with rated.world.database.writing() as session:
        found = await charges.open_charges(session, rated.world.ana.id, rated.world.now)
        ids = [row.id for row in found]
        await charges.claim(session, uuid7(), {1: ids})
    with pytest.raises(Conflict):
        async with rated.world.database.writing() as session:
            await charges.claim(session, uuid7(), {1: ids})
    for statement in (
        "UPDATE billing.charges SET worth = 0 WHERE device_id = :device",
        "UPDATE billing.charges SET invoice_id = NULL, line_number = NULL WHERE device_id = :device",
        "DELETE FROM billing.charges WHERE device_id = :device",
    ):
        with pytest.raises(DBAPIError, match="never changes"):
            await rated.sql(statement, device=device)


async def test_only_what_was_over_by_then_is_open(rated: Rated) -> None:
    device, rule = uuid7(), await rated.hourly(60)
    await rated.subscribe(device, rule_id=rule["id"], since=-48)
    await rated.world.run(device, rated.world.ana.id, -20, -4)
    await rated.world.run(device, rated.world.ana.id, -2, None)
    midnight = rated.world.now.replace(hour=0)
    assert await rated.invoice(rated.world.ana.id, until=midnight) == 8 * 60
    assert await rated.invoice(rated.world.ana.id) == 8 * 60
