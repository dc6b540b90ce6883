"""Usage, from the run to the invoice's line and back down to what was told of the run."""

from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from uuid import UUID

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper, sums

pytestmark = pytest.mark.anyio


async def test_a_line_of_usage_leads_down_to_its_charges_and_what_was_told_of_their_runs(world: World) -> None:
    ana, device = Shopper(world), world.owners.device(world.acme)
    order = await ana.subscribe(device.id, rate="33.3333333333", hours=1)
    runs = [(await ana.run(device.id, start, start + 1.37))["data"]["runId"] for start in (0.5, 5, 9)]
    world.now += timedelta(hours=12)
    [invoice] = await ana.issue()
    included, charged = [line for line in invoice["lines"] if line["kind"] == "usage"]
    if included["amount"]:
        included, charged = charged, included
    assert included["amount"] == 0 and Decimal(included["quantity"]) == 1
    assert sums(invoice["lines"]) == invoice["total"] == charged["amount"] + invoice["paid"]
    assert [line["orderId"] for line in invoice["lines"] if line["kind"] == "plan"] == [str(order)]
    path = f"/v1/invoices/{invoice['id']}/lines/{charged['number']}/charges"
    drilled = (await world.ok("GET", path, ana.headers))["data"]
    assert sum(Decimal(one["amount"]) for one in drilled["charges"]) == pytest.approx(Decimal(drilled["exact"]))
    assert Decimal(drilled["exact"]).quantize(Decimal(1), ROUND_HALF_EVEN) == drilled["amount"] == charged["amount"]
    first = (await world.ok("GET", f"{path}?limit=1", ana.headers))["data"]
    assert len(first["charges"]) == 1 and first["nextCursor"]
    assert {one["runId"] for one in drilled["charges"]} == set(runs[1:]) | {runs[0]}
    history = (await world.ok("GET", f"/v1/runs/{runs[2]}/history", ana.headers))["data"]
    assert [one["runId"] for one in history["charges"]] == [runs[2]] and history["stoppedAt"]
    assert await ana.owed() == invoice["due"] == charged["amount"]


async def test_a_late_fact_after_the_invoice_is_an_adjustment_on_the_next_which_pays_itself_back(world: World) -> None:
    ana, device = Shopper(world), world.owners.device(world.acme)
    await ana.subscribe(device.id, rate=60)
    run_id, began = uuid7(), world.now + timedelta(hours=1)
    await ana.run(device.id, 1, 11, runId=str(run_id), closedBy="heartbeat")
    world.now += timedelta(hours=24)
    await ana.recharge(1000)
    [first] = await ana.issue()
    assert (sums(first["lines"], "usage"), first["state"], await ana.available()) == (600, "paid", 400)
    late = {
        "runId": str(run_id), "deviceId": str(device.id), "userId": str(ana.id), "startedAt": began.isoformat(),
        "stoppedAt": (began + timedelta(hours=4)).isoformat(), "closedBy": "event",
    }  # fmt: skip
    await world.ok("POST", "/v1/usage-records", world.admin, late)
    [second] = await ana.issue()
    assert {line["kind"] for line in second["lines"]} == {"adjustment"}
    assert (second["total"], second["paid"], second["due"], second["state"]) == (-360, -360, 0, "paid")
    assert (await ana.available(), await ana.owed()) == (760, 0)
    assert UUID(second["id"]) != UUID(first["id"]) and await ana.issue() == []
