"""What was earned and used, for charts and tables, of one's own tenant."""

import csv
from typing import Any

import msgspec
import pytest

from cloudphone_core.billing import subscribers
from cloudphone_core.billing.ledger import transfers
from cloudphone_shared.bus import Delivery
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped
from cloudphone_shared.ids import uuid7
from tests.core.billing.rating.conftest import Rated
from tests.core.billing.test_metering import Taken

pytestmark = pytest.mark.anyio


async def book(rated: Rated, kind: Any, net: int, tax: int, days: int) -> None:
    """Something bought, or given back, so many days ago."""
    world, acme = rated.world, rated.world.acme
    rows = {"clearing": -(net + tax), "revenue": net, "tax": tax}
    postings = [transfers.Posting(transfers.of_tenant(acme, place, "USD"), amount) for place, amount in rows.items()]  # type: ignore[arg-type]
    async with world.database.writing() as session:
        await transfers.transfer(
            session, key=f"{kind}:{uuid7()}", kind=kind, postings=postings, reason="test", reference=None,
            actor="test", at=world.now.replace(day=world.now.day - days),
        )  # fmt: skip


async def test_revenue_is_what_was_posted_refunds_taken_off(rated: Rated) -> None:
    world = rated.world
    for kind, net, tax, days in (
        ("purchase", 1000, 200, 2), ("renewal", 500, 100, 2), ("invoice", 70, 14, 1), ("refund", -1000, -200, 1),
    ):  # fmt: skip
        await book(rated, kind, net, tax, days)
    await rated.subscribe(uuid7(), rule_id=None, since=-1)
    report = (await world.ok("GET", "/v1/reports/revenue?since=2026-03-13&until=2026-03-16", world.staff(world.acme)))[
        "data"
    ]
    assert [tuple(point.values()) for point in report["points"]] == [
        ("2026-03-13", 1500, 300, 1200, 600, 0, 0),
        ("2026-03-14", -930, -186, 0, 0, 84, 1200),
        ("2026-03-15", 0, 0, 0, 0, 0, 0),
    ]
    assert (report["net"], report["tax"], report["refunds"], report["currencies"]) == (570, 114, 1200, ["USD"])
    assert [(plan["orders"], plan["amount"]) for plan in report["byPlan"]] == [(1, 1999)]
    monthly = await world.ok("GET", "/v1/reports/revenue?by=month&since=2026-02-01", world.staff(world.acme))
    assert [(point["period"], point["net"]) for point in monthly["data"]["points"]] == [
        ("2026-02-01", 0), ("2026-03-01", 570),
    ]  # fmt: skip


async def test_usage_is_told_by_day_also_as_a_table(rated: Rated) -> None:
    world, phone, rule = rated.world, uuid7(), await rated.hourly(10)
    await rated.subscribe(phone, rule_id=rule["id"], since=-72)
    await world.run(phone, world.ana.id, -40, -30)
    await world.run(phone, world.ana.id, -2, -1)
    await world.run(world.owners.device(world.acme).id, world.ana.id, -2, -1)
    await rated.rate()
    place = "/v1/reports/usage?since=2026-03-13&until=2026-03-16"
    report = (await world.ok("GET", place, world.staff(world.acme)))["data"]
    assert [tuple(point.values()) for point in report["points"]] == [
        ("2026-03-13", 4 * 3600, 1, 1, 1, 40),
        ("2026-03-14", 6 * 3600, 1, 1, 1, 60),
        ("2026-03-15", 2 * 3600, 2, 2, 1, 10),
    ]
    assert (report["seconds"], report["runs"]) == (12 * 3600, 3)
    table = await world.client.get(f"{place}&format=csv", headers=world.staff(world.acme))
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(table.text.splitlines()))
    assert [row["seconds"] for row in rows] == [str(point["seconds"]) for point in report["points"]]
    assert rows[0]["currency"] == "USD"


async def test_a_report_is_of_ones_own_tenant(rated: Rated) -> None:
    world = rated.world
    await book(rated, "purchase", 1000, 0, 0)
    for kind in ("revenue", "usage"):
        place = f"/v1/reports/{kind}"
        rival = (await world.ok("GET", place, world.staff(world.rival)))["data"]
        assert {value for point in rival["points"] for value in list(point.values())[1:]} == {0}
        for who, query, status in (
            (world.staff(world.rival), f"?tenantId={world.acme}", 403),
            (world.as_ana, "", 403),
            (world.admin, "?since=2026-03-02&until=2026-03-01", 400),
            (world.admin, "?since=2020-01-01", 400),
            (world.admin, "?by=week", 400),
            (world.admin, "?currency=usd", 400),
            (world.admin, "?tenant=1", 400),
        ):
            answer = await world.client.get(place + query, headers=who)
            assert answer.status_code == status, (query, answer.text)
    assert (await world.ok("GET", f"/v1/reports/revenue?tenantId={world.acme}", world.admin))["data"]["net"] == 1000


async def test_a_runs_history_goes_down_to_what_it_rests_on(rated: Rated) -> None:
    world, phone, rule, run = rated.world, uuid7(), await rated.hourly(10), uuid7()
    await rated.subscribe(phone, rule_id=rule["id"], since=-72)
    await world.run(phone, world.ana.id, -4, -1, runId=str(run), closedBy="reconcile")
    await rated.rate()
    await world.run(phone, world.ana.id, -4, -2, runId=str(run))
    await rated.rate()
    history = (await world.ok("GET", f"/v1/runs/{run}/history", world.as_ana))["data"]
    assert [(charge["seconds"], charge["amount"]) for charge in history["charges"]] == [(7200, "20")]
    assert [one["what"].split(",")[0] for one in history["told"]][-1] == "corrected: the end by a reconciliation"
    stranger = world.customer(world.owners.user(world.rival).id, world.rival)
    for who in (stranger, world.staff(world.rival)):
        assert (await world.client.get(f"/v1/runs/{run}/history", headers=who)).status_code == 404
    assert (await world.client.get(f"/v1/runs/{uuid7()}/history", headers=world.admin)).status_code == 404


async def test_events_that_told_of_a_run_are_named_in_its_history(rated: Rated) -> None:
    world, phone, run = rated.world, uuid7(), uuid7()
    taken = Taken()
    subscribers.subscribe(taken, world.database, lambda: world.now)  # type: ignore[arg-type]
    began = world.now.replace(hour=8)
    whose = {"device_id": phone, "tenant_id": world.acme, "user_id": world.ana.id, "run_id": run, "started_at": began}
    ended = DeviceStopped(**whose, stopped_at=began.replace(hour=9), reason="asked for", closed_by="event")
    envelopes = [
        Envelope(
            event_id=uuid7(), type=event.type, version=1, time=world.now, source="device",
            data=msgspec.Raw(msgspec.json.encode(event)),
        )
        for event in (ended, DeviceStarted(**whose))
    ]  # fmt: skip
    for envelope in (*envelopes, envelopes[0]):
        await taken.handlers[envelope.type](envelope, Delivery(queue="", attempt=1))
    told = (await world.ok("GET", f"/v1/runs/{run}/history", world.as_ana))["data"]["told"]
    assert sorted((one["what"], one["eventId"]) for one in told) == [
        ("device.started", str(envelopes[1].event_id)), ("device.stopped", str(envelopes[0].event_id)),
    ]  # fmt: skip
