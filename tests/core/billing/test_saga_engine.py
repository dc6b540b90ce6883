"""A saga ends as it should whoever dies where, whoever answers late or not at all, and however many work on it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.sagas.engine import Engine
from cloudphone_core.billing.sagas.models import SagaRow, SagaStepRow
from cloudphone_core.billing.sagas.runner import Runner, wake
from cloudphone_core.billing.sagas.steps import Pace
from cloudphone_shared.database import Database
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.billing.toy_saga import TABLE, Others, toy_engine

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


class Bench:
    def __init__(self, database: Database) -> None:
        self.database, self.others = database, Others()

    def engine(self, **more: Any) -> Engine:
        return toy_engine(self.database, self.others, **more)

    async def start(self, engine: Engine | None = None) -> UUID:
        """Driven as far as it goes, by whoever starts it."""
        engine, saga_id = engine or self.engine(), uuid7()
        async with self.database.writing() as session:
            question = await engine.start(session, saga_id, kind="toy", tenant_id=uuid7(), user_id=uuid7(), data={})
        await engine.drive(question)
        return saga_id

    async def row(self, saga_id: UUID) -> SagaRow:
        async with self.database.reading() as session:
            return await session.get_one(SagaRow, saga_id)

    async def line(self, saga_id: UUID) -> list[SagaStepRow]:
        async with self.database.reading() as session:
            steps = sa.select(SagaStepRow).where(SagaStepRow.saga_id == saga_id).order_by(SagaStepRow.number)
            return list(await session.scalars(steps))

    async def effects(self, saga_id: UUID) -> dict[str, bool]:
        """Of each step that was taken, whether it was undone."""
        async with self.database.reading() as session:
            rows = await session.execute(
                sa.text("SELECT step, undone FROM billing.toys WHERE saga_id = :id"), {"id": saga_id}
            )
            return {row.step: row.undone for row in rows}

    async def hear(self, saga_id: UUID) -> None:
        self.others.heard.add(saga_id)
        async with self.database.writing() as session:
            await wake(session, saga_id)

    async def ended(self, saga_id: UUID, engine: Engine | None = None) -> SagaRow:
        """As another worker finds and finishes it; whatever lease is left has run out."""
        engine = engine or self.engine()

        async def over() -> bool:
            await self.run_out(saga_id)
            await engine.take_due(saga_id)
            return (await self.row(saga_id)).state in ("completed", "compensated")

        await eventually(over, within=60, every=0.01)
        return await self.row(saga_id)

    async def run_out(self, saga_id: UUID) -> None:
        leased = sa.update(SagaRow).where(SagaRow.id == saga_id, SagaRow.lease_token.is_not(None))
        async with self.database.writing() as session:
            await session.execute(leased.values(wake_at=sa.func.clock_timestamp()))

    async def check(self, saga_id: UUID, state: str) -> None:
        """Each effect once; or none that was not undone."""
        effects, row = await self.effects(saga_id), await self.row(saga_id)
        assert (row.state, row.wake_at, row.lease_token) == (state, None, None)
        if state == "completed":
            assert len(effects) == 6 and not any(effects.values())
            assert all(saga_id in given for given in self.others.given.values())
        else:
            assert all(effects.values())
            assert not any(saga_id in given for given in self.others.given.values())
        line = await self.line(saga_id)
        assert [step.number for step in line] == list(range(1, len(line) + 1))
        assert all(step.outcome for step in line)
        done = [step.step for step in line if (step.direction, step.outcome) == ("forward", "done")]
        assert len(done) == len(set(done))


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    database = Database(database_url, schema=SCHEMA, service="billing", pool_size=10)
    async with database.writing() as session:
        await session.execute(sa.text(TABLE))
        await session.execute(
            sa.text("UPDATE billing.sagas SET state = 'completed', wake_at = NULL, lease_token = NULL")
        )
    yield Bench(database)
    await database.close()


async def test_steps_that_ask_nobody_are_one_transaction_and_the_time_line_shows_each(bench: Bench) -> None:
    commits: list[str] = []

    async def count(point: str) -> None:
        if point == "committed":
            commits.append(point)

    saga_id = await bench.start(bench.engine(point=count))
    assert len(commits) == 1 and (await bench.row(saga_id)).state == "waiting"
    line = [(step.step, step.outcome) for step in await bench.line(saga_id)]
    assert line == [
        ("VALIDATE_PLAN", "done"), ("CREATE_ORDER", "done"), ("HOLD_PAYMENT", "done"), ("ALLOCATE_DEVICE", "waiting"),
    ]  # fmt: skip
    await bench.hear(saga_id)
    assert (await bench.ended(saga_id)).state == "completed"
    await bench.check(saga_id, "completed")


@pytest.mark.parametrize("state", ["completed", "compensated"])
async def test_a_crash_at_any_point_changes_nothing_of_how_it_ends(bench: Bench, state: str) -> None:
    if state == "compensated":
        bench.others.refused.add("CAPTURE_PAYMENT take")
    number, reached = 0, True
    while reached:
        number, left, reached = number + 1, number + 1, False

        async def crash(point: str) -> None:
            nonlocal left, reached
            left -= 1
            if left == 0:
                reached = True
                raise Killed(point)

        dying, saga_id = bench.engine(point=crash), uuid7()
        try:
            async with bench.database.writing() as session:
                question = await dying.start(session, saga_id, kind="toy", tenant_id=uuid7(), user_id=uuid7(), data={})
            await dying.drive(question)
            await bench.hear(saga_id)
            await dying.take_due(saga_id)
        except Killed:
            pass
        await bench.hear(saga_id)
        assert (await bench.ended(saga_id)).state == state
        await bench.check(saga_id, state)
    assert number > 12


@pytest.mark.parametrize("step", ["VALIDATE_PLAN", "CREATE_ORDER", "HOLD_PAYMENT", "CAPTURE_PAYMENT"])
async def test_a_refusal_undoes_what_was_done_and_says_why(bench: Bench, step: str) -> None:
    bench.others.refused.add(f"{step} take")
    saga_id = await bench.start()
    await bench.hear(saga_id)
    row = await bench.ended(saga_id)
    assert row.state == "compensated" and row.failure == "It is not to be"
    assert row.refusal and row.refusal["code"] == "conflict"
    await bench.check(saga_id, "compensated")


async def test_who_gives_no_answer_is_asked_again_and_before_the_pivot_not_for_ever(bench: Bench) -> None:
    bench.others.away["VALIDATE_PLAN take"] = 2
    saga_id = await bench.start()
    await bench.hear(saga_id)
    assert (await bench.ended(saga_id)).state == "completed"
    assert [step.outcome for step in await bench.line(saga_id)][:3] == ["failed", "failed", "done"]
    bench.others.away["VALIDATE_PLAN take"] = 3
    saga_id = await bench.start()
    assert (await bench.ended(saga_id)).state == "compensated"
    await bench.check(saga_id, "compensated")


async def test_after_the_pivot_there_is_no_way_back_and_failures_call_for_an_operator(bench: Bench) -> None:
    bench.others.refused.add("ACTIVATE_ORDER take")
    saga_id = await bench.start()
    await bench.hear(saga_id)
    engine = bench.engine()

    async def alarmed() -> bool:
        await engine.take_due(saga_id)
        return (await bench.row(saga_id)).alarmed_at is not None

    await eventually(alarmed, within=60, every=0.01)
    assert (await bench.row(saga_id)).state == "running"
    bench.others.refused.clear()
    assert (await bench.ended(saga_id)).state == "completed"
    await bench.check(saga_id, "completed")


async def test_a_compensation_that_fails_stays_compensating_and_alarms_once(bench: Bench) -> None:
    bench.others.refused.update(("HOLD_PAYMENT take", "VALIDATE_PLAN undo"))
    saga_id, engine = await bench.start(), bench.engine()

    async def has_failed_often() -> bool:
        await engine.take_due(saga_id)
        return (await bench.row(saga_id)).attempts > 4

    await eventually(has_failed_often, within=60, every=0.01)
    row = await bench.row(saga_id)
    assert (row.state, row.step) == ("compensating", "VALIDATE_PLAN") and row.alarmed_at and row.wake_at
    async with bench.database.reading() as session:
        told = "SELECT count(*) FROM billing.outbox WHERE type = 'saga.alarmed' AND payload ->> 'sagaId' = :id"
        assert (await session.execute(sa.text(told), {"id": str(saga_id)})).scalar_one() == 1
    bench.others.refused.clear()
    row = await bench.ended(saga_id)
    assert row.alarmed_at is None
    await bench.check(saga_id, "compensated")


async def test_a_wait_ends_at_its_deadline_by_the_databases_clock(bench: Bench) -> None:
    saga_id = await bench.start()
    row = await bench.row(saga_id)
    assert row.state == "waiting" and row.deadline_at and row.deadline_at - row.created_at >= timedelta(hours=1)
    assert not await bench.engine().take_due(saga_id)
    async with bench.database.writing() as session:
        # The server's clock jumps an hour ahead of what was written.
        await session.execute(
            sa.text("UPDATE billing.sagas SET wake_at = wake_at - interval '61 min', deadline_at = deadline_at"
                    " - interval '61 min' WHERE id = :id"), {"id": saga_id}
        )  # fmt: skip
    assert (await bench.ended(saga_id)).failure == "nobody replied in time"
    await bench.hear(saga_id)
    await bench.check(saga_id, "compensated")


async def test_who_lost_the_lease_records_nothing(bench: Bench) -> None:
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(point: str) -> None:
        if point == "VALIDATE_PLAN take asked":
            asking.set()
            await go_on.wait()

    slow_one = asyncio.create_task(bench.start(bench.engine(point=slow)))
    await asking.wait()
    async with bench.database.reading() as session:
        saga_id = await session.scalar(sa.select(SagaRow.id).where(SagaRow.wake_at.is_not(None)))
    assert saga_id is not None
    bench.others.heard.add(saga_id)
    await bench.ended(saga_id)
    line = [(step.number, step.outcome) for step in await bench.line(saga_id)]
    go_on.set()
    await slow_one
    assert [(step.number, step.outcome) for step in await bench.line(saga_id)] == line
    await bench.check(saga_id, "completed")


async def test_one_that_is_turned_back_while_others_are_asked_undoes_what_they_answered(bench: Bench) -> None:
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(point: str) -> None:
        if point == "VALIDATE_PLAN take asked":
            asking.set()
            await go_on.wait()

    starting = asyncio.create_task(bench.start(bench.engine(point=slow)))
    await asking.wait()
    running = sa.update(SagaRow).where(SagaRow.wake_at.is_not(None)).values(cancel_reason="a mistake")
    async with bench.database.writing() as session:
        await session.execute(running)
    go_on.set()
    saga_id = await starting
    assert (await bench.row(saga_id)).failure == "a mistake"
    await bench.check(saga_id, "compensated")
    line = [(step.direction, step.outcome) for step in await bench.line(saga_id)]
    assert line == [("forward", "refused"), ("back", "done")]


async def test_many_sagas_between_two_workers_are_done_once_each(bench: Bench) -> None:
    pace = Pace(lease=30, poll=0.05, backoff=(0.01,), concurrency=4)
    runners = [Runner(bench.database, bench.engine(pace=pace), pace) for _ in range(2)]
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    sagas = await asyncio.gather(*(bench.start(bench.engine(pace=pace)) for _ in range(12)))
    await asyncio.gather(*(bench.hear(saga_id) for saga_id in sagas for _ in range(2)))

    async def all_done() -> bool:
        return all([(await bench.row(saga_id)).state == "completed" for saga_id in sagas])

    await eventually(all_done, within=60)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for saga_id in sagas:
        await bench.check(saga_id, "completed")


async def test_a_worker_that_stops_leaves_its_saga_to_others_at_once(bench: Bench) -> None:
    asking = asyncio.Event()

    async def hang(point: str) -> None:
        if point == "VALIDATE_PLAN take asking":
            asking.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(bench.start(bench.engine(point=hang, pace=Pace(lease=3600))))
    await asking.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with bench.database.reading() as session:
        saga_id = await session.scalar(sa.select(SagaRow.id).where(SagaRow.wake_at.is_not(None)))
    assert saga_id is not None
    bench.others.heard.add(saga_id)
    assert (await bench.ended(saga_id)).state == "completed"
