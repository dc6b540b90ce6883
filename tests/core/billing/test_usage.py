"""Running time: runs are keyed, never overlap, and count within the period and the day they ran in."""

import asyncio
import random
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.billing.periods import DAY, Interval, last_days, month_of, seconds_by_day
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio
here = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def body_of(world: World, run_id: UUID, device_id: UUID, start: float, stop: float | None, **fields: object) -> object:
    return {
        "runId": str(run_id), "deviceId": str(device_id), "userId": str(world.ana.id), "startedAt": world.hour(start),
        "stoppedAt": None if stop is None else world.hour(stop), **fields,
    }  # fmt: skip


async def usage(world: World, device_id: UUID) -> dict[str, object]:
    return (await world.ok("GET", f"/v1/devices/{device_id}/usage", world.bff))["data"]


async def test_a_device_that_never_ran_has_used_nothing(world: World) -> None:
    phone = world.owners.device(world.acme)
    answer = await world.ok("GET", f"/v1/devices/{phone.id}/usage", world.bff)
    assert answer["entities"] == {f"usage:{phone.id}": 0}
    assert answer["data"] == {
        "deviceId": str(phone.id), "periodStart": "2026-03-01T00:00:00Z", "periodEnd": "2026-04-01T00:00:00Z",
        "seconds": 0, "runs": 0, "openSince": None, "lastRunAt": None,
    }  # fmt: skip


async def test_a_run_counts_once_it_is_closed(world: World) -> None:
    phone = world.owners.device(world.acme, world.ana.id)
    run_id = uuid7()
    await world.ok("POST", "/v1/usage-records", world.admin, body_of(world, run_id, phone.id, -3, None))
    running = await usage(world, phone.id)
    assert (running["seconds"], running["runs"], running["openSince"]) == (0, 1, "2026-03-15T09:00:00Z")
    closed = await world.ok("POST", "/v1/usage-records", world.admin, body_of(world, run_id, phone.id, -3, -1))
    assert closed["data"]["closedBy"] == "event"
    done = await usage(world, phone.id)
    assert (done["seconds"], done["runs"], done["openSince"]) == (7200, 1, None)
    assert done["lastRunAt"] == "2026-03-15T09:00:00Z"
    shown = await world.ok("GET", f"/v1/usage-records/{run_id}", world.as_ana)
    assert shown["data"] == closed["data"]


async def test_facts_may_come_again_and_in_any_order(world: World) -> None:
    phone = world.owners.device(world.acme)
    run_id = uuid7()
    stop, start = body_of(world, run_id, phone.id, -3, -1), body_of(world, run_id, phone.id, -3, None)
    for fact in (stop, start, stop, start):
        answer = await world.ok("POST", "/v1/usage-records", world.admin, fact)
    assert answer["data"]["stoppedAt"] == "2026-03-15T11:00:00Z"
    entity = f"usage:{phone.id}"
    first = (await world.rows("SELECT version FROM billing.entity_versions WHERE entity = :e", e=entity))[0].version
    assert first == 10**12 + 1
    assert len(await world.rows("SELECT 1 FROM billing.outbox WHERE entities ? :e", e=entity)) == 1


async def test_a_run_keeps_its_first_facts(world: World) -> None:
    phone, other = world.owners.device(world.acme), world.owners.device(world.acme)
    run_id = uuid7()
    await world.ok("POST", "/v1/usage-records", world.admin, body_of(world, run_id, phone.id, -3, -1))
    for changed in (
        body_of(world, run_id, phone.id, -3, -2),
        body_of(world, run_id, phone.id, -2.5, -1),
        body_of(world, run_id, other.id, -3, -1),
    ):
        response = await world.client.post("/v1/usage-records", headers=world.admin, json=changed)
        assert response.status_code == 409, changed
    assert (await usage(world, phone.id))["seconds"] == 7200


async def test_a_late_event_corrects_an_estimated_end_and_leaves_a_trace(world: World) -> None:
    phone = world.owners.device(world.acme)
    run_id = uuid7()
    guess = body_of(world, run_id, phone.id, -3, -2, closedBy="heartbeat")
    await world.ok("POST", "/v1/usage-records", world.admin, guess)
    await world.ok("POST", "/v1/usage-records", world.admin, body_of(world, run_id, phone.id, -3, -1))
    assert (await usage(world, phone.id))["seconds"] == 7200
    traces = await world.rows("SELECT * FROM billing.usage_adjustments WHERE run_id = :run", run=run_id)
    assert [(trace.closed_by_before, trace.stopped_at - trace.stopped_at_before) for trace in traces] == [
        ("heartbeat", timedelta(hours=1))
    ]
    guess = body_of(world, run_id, phone.id, -3, -1.5, closedBy="reconcile")
    assert (await world.client.post("/v1/usage-records", headers=world.admin, json=guess)).status_code == 409


async def test_runs_of_a_device_do_not_overlap(world: World) -> None:
    phone, other = world.owners.device(world.acme), world.owners.device(world.acme)
    await world.run(phone.id, world.ana.id, -5, -3)
    await world.run(phone.id, world.ana.id, -3, None)
    await world.run(other.id, world.ana.id, -5, -3)
    for start, stop in ((-4, -3.5), (-6, -4), (-6, None), (-1, -0.5)):
        body = body_of(world, uuid7(), phone.id, start, stop)
        response = await world.client.post("/v1/usage-records", headers=world.admin, json=body)
        assert response.status_code == 409, (start, stop)
        assert "overlaps" in str(problem(response)["detail"])


async def test_of_overlapping_runs_recorded_at_once_one_wins(world: World) -> None:
    await world.open_connections(10)
    for _ in range(4):
        phone = world.owners.device(world.acme)
        bodies = [body_of(world, uuid7(), phone.id, -4 + n / 10, -2 + n / 10) for n in range(10)]
        answers = await asyncio.gather(
            *(world.client.post("/v1/usage-records", headers=world.admin, json=body) for body in bodies)
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * 9]
        assert (await usage(world, phone.id))["runs"] == 1


async def test_of_several_ends_told_at_once_one_is_kept_and_announced(world: World) -> None:
    await world.open_connections(10)
    for _ in range(4):
        phone = world.owners.device(world.acme)
        run_id = uuid7()
        await world.ok("POST", "/v1/usage-records", world.admin, body_of(world, run_id, phone.id, -4, None))
        ends = [body_of(world, run_id, phone.id, -4, -2 + n / 100) for n in range(10)]
        answers = await asyncio.gather(
            *(world.client.post("/v1/usage-records", headers=world.admin, json=body) for body in ends)
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * 9]
        entity = f"usage:{phone.id}"
        assert len(await world.rows("SELECT 1 FROM billing.outbox WHERE entities ? :e", e=entity)) == 2


async def test_an_impossible_interval_is_refused(world: World) -> None:
    phone = world.owners.device(world.acme)
    good = body_of(world, uuid7(), phone.id, -2, -1)
    assert isinstance(good, dict)
    for wrong in (
        {"startedAt": world.hour(-1), "stoppedAt": world.hour(-2)},
        {"startedAt": world.hour(1)},
        {"stoppedAt": world.hour(1)},
        {"startedAt": "0001-01-01T00:00:00+14:00"},
        {"startedAt": "2026-03-15T10:00:00"},
        {"startedAt": "yesterday"},
        {"closedBy": "magic"},
        {"deviceId": "phone"},
        {"seconds": 5},
    ):
        response = await world.client.post("/v1/usage-records", headers=world.admin, json={**good, **wrong})
        assert response.status_code == 400, wrong
        problem(response)


async def test_usage_of_a_user_depends_on_every_device_and_on_new_ones(world: World) -> None:
    phone, tablet = world.owners.device(world.acme), world.owners.device(world.acme)
    path = f"/v1/users/{world.ana.id}/usage"
    assert (await world.ok("GET", path, world.bff))["entities"] == {f"usage-of:{world.ana.id}": 0}
    await world.run(phone.id, world.ana.id, -5, -4)
    first = await world.ok("GET", path, world.bff)
    assert set(first["entities"]) == {f"usage-of:{world.ana.id}", f"usage:{phone.id}"}
    await world.run(phone.id, world.ana.id, -3, -2)
    second = await world.ok("GET", path, world.bff)
    assert second["entities"][f"usage:{phone.id}"] > first["entities"][f"usage:{phone.id}"]
    assert second["entities"][f"usage-of:{world.ana.id}"] == first["entities"][f"usage-of:{world.ana.id}"]
    await world.run(tablet.id, world.ana.id, -4, None)
    third = await world.ok("GET", path, world.as_ana)
    assert third["entities"][f"usage-of:{world.ana.id}"] > second["entities"][f"usage-of:{world.ana.id}"]
    assert [device["deviceId"] for device in third["data"]["devices"]] == [str(phone.id), str(tablet.id)]
    assert third["data"]["seconds"] == 7200


async def test_a_device_without_runs_in_the_period_is_not_shown_and_still_depended_on(world: World) -> None:
    phone = world.owners.device(world.acme)
    await world.run(phone.id, world.ana.id, -24 * 40, -24 * 39)
    answer = await world.ok("GET", f"/v1/users/{world.ana.id}/usage", world.bff)
    assert answer["data"]["devices"] == []
    assert f"usage:{phone.id}" in answer["entities"]


async def test_the_next_holder_of_a_device_does_not_see_the_last_ones_runs(world: World) -> None:
    ben = world.owners.user(world.acme, name="Ben")
    phone = world.owners.device(world.acme, ben.id)
    await world.run(phone.id, world.ana.id, -5, -4)
    seen = await world.ok("GET", f"/v1/devices/{phone.id}/usage", world.customer(ben.id, world.acme))
    assert (seen["data"]["runs"], seen["data"]["lastRunAt"]) == (0, None)
    assert (await usage(world, phone.id))["runs"] == 1


async def test_days_are_utc_days_and_the_empty_ones_are_there(world: World) -> None:
    phone = world.owners.device(world.acme)
    await world.run(phone.id, world.ana.id, -14, -10)  # from 22:00 the day before until 02:00
    await world.run(phone.id, world.ana.id, -2, None)
    days = (await world.ok("GET", f"/v1/users/{world.ana.id}/usage/days?days=3", world.as_ana))["data"]
    assert days == [
        {"day": "2026-03-13", "seconds": 0},
        {"day": "2026-03-14", "seconds": 7200},
        {"day": "2026-03-15", "seconds": 7200},
    ]
    for wrong in ("0", "367", "x"):
        response = await world.client.get(f"/v1/users/{world.ana.id}/usage/days?days={wrong}", headers=world.as_ana)
        assert response.status_code == 400


moments = st.datetimes(datetime(2025, 11, 1), datetime(2026, 5, 1), timezones=st.just(UTC))  # noqa: DTZ001
lengths = st.timedeltas(timedelta(), timedelta(days=70))


@st.composite
def disjoint(draw: st.DrawFn) -> list[Interval]:
    edges = sorted(draw(st.lists(moments, min_size=2, max_size=12)))
    return [Interval(*pair) for pair in zip(edges[::2], edges[1::2], strict=False)]


@given(moments)
def test_a_month_holds_its_moment_and_ends_where_the_next_begins(moment: datetime) -> None:
    month = month_of(moment)
    assert month.start <= moment < month.end
    assert month.start.day == month.end.day == 1
    assert timedelta(28) <= month.end - month.start <= timedelta(31)
    assert month_of(month.end).start == month.end
    assert month_of(month.end - timedelta(microseconds=1)) == month


@given(disjoint(), moments, st.integers(1, 120))
def test_days_add_up_to_the_time_run_within_them(runs: list[Interval], moment: datetime, count: int) -> None:
    window = last_days(moment, count)
    days = seconds_by_day(runs, window)
    assert len(days) == count
    assert list(days) == sorted(days)
    assert list(days)[-1] == moment.date()
    within = sum(
        (max(min(run.end, window.end) - max(run.start, window.start), timedelta()) for run in runs), timedelta()
    )
    assert 0 <= within.total_seconds() - sum(days.values()) < count
    for day, seconds in days.items():
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        alone = seconds_by_day(runs, Interval(midnight, midnight + DAY))
        assert alone == {day: seconds}
        assert seconds <= 86_400


def test_a_run_over_midnight_is_split_there() -> None:
    night = Interval(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 2, 1, tzinfo=UTC))
    window = Interval(datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    assert seconds_by_day([night], window) == {
        date(2026, 2, 28): 3600,
        date(2026, 3, 1): 86_400,
        date(2026, 3, 2): 3600,
    }


@here
@given(disjoint(), moments, st.integers(0, 2**32))
async def test_a_period_counts_the_part_of_each_run_within_it(
    world: World, runs: list[Interval], moment: datetime, order: int
) -> None:
    """Recorded in any order and twice over, the runs give what an oracle adds up by hand."""
    phone = world.owners.device(world.acme)
    world.now = datetime(2026, 6, 1, tzinfo=UTC)
    facts = [
        {
            "runId": str(uuid7()), "deviceId": str(phone.id), "userId": str(world.ana.id),
            "startedAt": run.start.isoformat(), "stoppedAt": run.end.isoformat(),
        }
        for run in runs
    ] * 2  # fmt: skip
    random.Random(order).shuffle(facts)
    for fact in facts:
        await world.ok("POST", "/v1/usage-records", world.admin, fact)
    world.now = moment
    month = month_of(moment)
    found = await usage(world, phone.id)
    within = [max(min(run.end, month.end) - max(run.start, month.start), timedelta()) for run in runs]
    assert found["seconds"] == sum(within, timedelta()) // timedelta(seconds=1)
    touching = [run for run in runs if run.start < month.end and (run.end > month.start or run.start >= month.start)]
    assert found["runs"] == len(touching)
