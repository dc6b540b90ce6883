"""The engine of sagas: each turn is one transaction under the saga's row lock, in which as many steps are taken as ask
nobody; a lease is written only where somebody has to be asked, and its token is needed to go on.

Killed anywhere, any other worker goes on from the last commit. All times are the database's.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa
import structlog
from prometheus_client import Counter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database, announce, announce_all
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.events.billing import SagaAlarmed

from .models import Outcome, SagaRow, SagaStepRow
from .steps import Asked, Pace, Point, Question, Step, Turn, Wait, nothing_happens

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ALARMS = Counter("cloudphone_saga_alarms_total", "Sagas that called for an operator", ["kind", "step"])
ENDED = Counter("cloudphone_sagas_ended_total", "Sagas that came to an end", ["kind", "state"])

_REPEATS = 3
"""How often a turn is begun anew that lost to another transaction."""


class LeaseLost(Exception):
    """Another has this saga now: what this one was answered it must not record."""


class Place(msgspec.Struct):
    """Where a turn has come to, and where it began; `stopped` is what it is to record there instead of going on."""

    saga_id: UUID | None = None
    token: UUID | None = None
    step: str = ""
    back: bool = False
    stopped: Exception | None = None
    first: tuple[str, bool] = ("", False)


class Engine:
    """Of one kind of saga. `pivot` names the step after which there is no way back."""

    def __init__(
        self,
        database: Database,
        steps: Sequence[Step],
        *,
        pivot: str,
        pace: Pace = Pace(),  # noqa: B008
        point: Point = nothing_happens,
    ) -> None:
        self._database, self._steps, self._pace, self.point = database, steps, pace, point
        self._numbers = {step.name: number for number, step in enumerate(steps)}
        self._pivot = self._numbers[pivot]

    def may_turn_back(self, saga: SagaRow) -> bool:
        return self._numbers[saga.step] < self._pivot

    async def start(self, session: AsyncSession, saga_id: UUID, **fields: Any) -> Question | None:
        """Its row, in the caller's transaction, and what is to be driven after the commit. None: it is known already.

        `fields` are the row's own: kind, tenant_id, user_id, order_id, data, request_hash.
        """
        step, token, now = self._steps[0], uuid4(), sa.func.clock_timestamp()
        begun = {
            "state": "running", "step": step.name, "attempts": 0, "notes": 1, "lease_token": token,
            "wake_at": now + timedelta(seconds=self._pace.lease), "created_at": now, "updated_at": now,
        }  # fmt: skip
        made = insert(SagaRow).values(id=saga_id, **fields, **begun).on_conflict_do_nothing().returning(SagaRow)
        saga = (await session.scalars(made)).one_or_none()
        if saga is None:
            return None
        session.add(_step_row(saga, saga.created_at, back=False))
        return Question(step, False, saga, token)

    async def drive(self, question: Question | None) -> None:
        """Until it waits, pauses or ends, or is another's. Raises Unavailable where nothing could be written: it is
        taken up again when the lease has run out."""
        try:
            while question is not None:
                with structlog.contextvars.bound_contextvars(saga_id=str(question.saga.id), step=question.step.name):
                    question = await self._turn(question, await self._ask(question))
        except LeaseLost:
            log.warning("saga_taken_away")
        except asyncio.CancelledError:
            if question is not None:
                await self._let_go(question.token)
            raise

    async def take_due(self, saga_id: UUID | None = None) -> bool:
        """Takes up one saga that is due, or this one if it is, and drives it. Whether there was one."""
        place = Place(saga_id=saga_id)
        question = await self._turns(place, None)
        await self.drive(question)
        return bool(place.first[0])

    async def _ask(self, question: Question) -> Asked:
        way = "undo" if question.back else "take"
        await self.point(f"{question.step.name} {way} asking")
        try:
            async with asyncio.timeout(self._pace.lease / 2):
                asked = Asked(answer=await question.step.ask(question.saga, back=question.back))
        except (DomainError, Unavailable, TimeoutError) as error:
            asked = Asked(error=error)
        except Exception as error:
            log.exception("saga_stumbled")
            asked = Asked(error=error)
        await self.point(f"{question.step.name} {way} asked")
        return asked

    async def _turn(self, question: Question, asked: Asked) -> Question | None:
        place = Place(saga_id=question.saga.id, token=question.token)
        if asked.error is not None:
            place.step, place.back, place.stopped = question.step.name, question.back, asked.error
        return await self._turns(place, asked)

    async def _turns(self, place: Place, asked: Asked | None) -> Question | None:
        """One turn; another up to the step that stopped it, whose failure is then what is recorded."""
        repeats = 0
        while True:
            stop = (place.step, place.back) if place.stopped else None
            try:
                question = await self._transaction(place, asked, stop)
            except LeaseLost:
                raise
            except Unavailable:
                repeats += 1
                if repeats > _REPEATS:
                    raise
            except Exception as error:
                if not place.step or stop == place.first:
                    raise
                if not isinstance(error, DomainError):
                    log.exception("saga_stumbled", saga_id=str(place.saga_id), step=place.step)
                place.stopped = error
                if stop == (place.step, place.back):
                    # It is the commit that fails, and any step before may be why: nothing is done, and that is said.
                    place.step, place.back = place.first
            else:
                await self.point("committed")
                return question

    async def _transaction(self, place: Place, asked: Asked | None, stop: tuple[str, bool] | None) -> Question | None:
        async with self._database.writing() as session:
            turn = await self._located(session, place)
            if turn is None:
                return None
            turn.asked = asked
            question = await self._go_on(turn, place, stop)
            turn.saga.updated_at = turn.at
            await session.flush()
            await announce_all(session, turn.announcing)
            await self.point("commit")
            return question

    async def _located(self, session: AsyncSession, place: Place) -> Turn | None:
        """The saga, locked. Raises LeaseLost. Without a token: one that is due, or None."""
        chosen = sa.select(SagaRow, sa.func.clock_timestamp())
        if place.saga_id is not None:
            chosen = chosen.where(SagaRow.id == place.saga_id)
        if place.token is None:
            due = chosen.where(SagaRow.wake_at <= sa.func.clock_timestamp()).order_by(SagaRow.wake_at).limit(1)
            found = (await session.execute(due.with_for_update(skip_locked=True))).one_or_none()
        else:
            found = (await session.execute(chosen.with_for_update())).one_or_none()
        if found is None:
            return None
        saga, at = found
        turn = Turn(session=session, saga=saga, at=at)
        if place.token != saga.lease_token:
            if place.token is not None:
                raise LeaseLost
            # Whoever had it was not heard of any more.
            saga.attempts += 1
            await _end_note(turn, "failed", "interrupted")
        place.saga_id, place.first = saga.id, (saga.step, saga.state == "compensating")
        return turn

    async def _go_on(self, turn: Turn, place: Place, stop: tuple[str, bool] | None) -> Question | None:
        saga = turn.saga
        if saga.state == "waiting":
            saga.state = "running"
        while saga.wake_at is not None:
            if saga.cancel_reason and saga.state == "running" and self.may_turn_back(saga) and stop is None:
                if saga.lease_token is not None:
                    await _end_note(turn, "refused", "turned back meanwhile")
                await self._turn_back(turn, saga.cancel_reason)
            step, back = self._steps[self._numbers[saga.step]], saga.state == "compensating"
            if stop != (step.name, back) and turn.asked is None and step.asks(saga, back=back):
                return self._lease(turn, step, back=back)
            place.step, place.back = step.name, back
            if stop == (step.name, back) and place.stopped is not None:
                stop = None
                if await self._stumble(turn, place.stopped, back=back):
                    return None
                continue
            told = await (step.undo(turn) if back else step.take(turn))
            await self.point(f"{step.name} {'undo' if back else 'take'}n")
            if isinstance(told, Wait):
                await self._wait(turn, told)
                return None
            await self._done(turn, told, back=back)
        return None

    def _lease(self, turn: Turn, step: Step, *, back: bool) -> Question:
        saga, token = turn.saga, uuid4()
        saga.lease_token, saga.wake_at = token, turn.at + timedelta(seconds=self._pace.lease)
        _note(turn, back=back)
        return Question(step, back, saga, token)

    async def _done(self, turn: Turn, told: str | None, *, back: bool) -> None:
        saga = turn.saga
        await self._record(turn, "done", told, back=back)
        number = self._numbers[saga.step] + (-1 if back else 1)
        saga.attempts, saga.alarmed_at, saga.deadline_at = 0, None, None
        if 0 <= number < len(self._steps):
            saga.step = self._steps[number].name
            return
        saga.state, saga.wake_at = "compensated" if back else "completed", None
        ENDED.labels(saga.kind, saga.state).inc()
        log.info("saga_ended", saga_id=str(saga.id), state=saga.state, failure=saga.failure)

    async def _wait(self, turn: Turn, wait: Wait) -> None:
        saga = turn.saga
        await self._record(turn, "waiting", wait.reason, back=False)
        if saga.deadline_at is None or turn.overdue:
            saga.deadline_at = turn.at + wait.at_most
        saga.state, saga.wake_at, saga.attempts = "waiting", saga.deadline_at, 0

    async def _stumble(self, turn: Turn, error: Exception, *, back: bool) -> bool:
        """Whether it pauses before it tries again; else it turned back."""
        saga, refused = turn.saga, isinstance(error, DomainError)
        await self._record(turn, "refused" if refused else "failed", _in_words(error), back=back)
        saga.attempts += 1
        here = self._numbers[saga.step]
        hopeless = refused if here == self._pivot else here < self._pivot and (
            refused or saga.attempts >= self._pace.tries
        )  # fmt: skip
        if not back and hopeless:
            await self._turn_back(turn, _in_words(error), error)
            return False
        pauses = self._pace.backoff
        pause = pauses[min(saga.attempts, len(pauses)) - 1]
        saga.wake_at = turn.at + timedelta(seconds=pause)
        if (back or here >= self._pivot) and saga.attempts >= self._pace.alarm_after and saga.alarmed_at is None:
            await self._alarm(turn, _in_words(error))
        return True

    async def _turn_back(self, turn: Turn, why: str, error: Exception | None = None) -> None:
        saga = turn.saga
        saga.state, saga.failure, saga.attempts, saga.deadline_at = "compensating", why, 0, None
        if isinstance(error, DomainError):
            saga.refusal = msgspec.to_builtins(error.problem())
        turn.asked = None

    async def _alarm(self, turn: Turn, why: str) -> None:
        saga = turn.saga
        saga.alarmed_at = turn.at
        ALARMS.labels(saga.kind, saga.step).inc()
        log.error("saga_alarmed", saga_id=str(saga.id), state=saga.state, step=saga.step, failure=why)
        event = SagaAlarmed(
            saga_id=saga.id, order_id=saga.order_id, state=saga.state, step=saga.step, failure=why,
            tenant_id=saga.tenant_id,
        )  # fmt: skip
        await announce(turn.session, event)

    async def _record(self, turn: Turn, outcome: Outcome, told: str | None, *, back: bool) -> None:
        if turn.saga.lease_token is None:
            _note(turn, back=back, outcome=outcome, detail=told)
        else:
            await _end_note(turn, outcome, told)
        turn.asked = None

    async def _let_go(self, token: UUID) -> None:
        free = sa.update(SagaRow).where(SagaRow.lease_token == token).values(wake_at=sa.func.clock_timestamp())
        async with self._database.writing() as session:
            await session.execute(free.execution_options(synchronize_session=False))


def _note(turn: Turn, *, back: bool, outcome: Outcome | None = None, detail: str | None = None) -> None:
    turn.saga.notes += 1
    turn.session.add(_step_row(turn.saga, turn.at, back=back, outcome=outcome, detail=detail))


def _step_row(
    saga: SagaRow, at: datetime, *, back: bool, outcome: Outcome | None = None, detail: str | None = None
) -> SagaStepRow:
    return SagaStepRow(
        saga_id=saga.id, number=saga.notes, step=saga.step, direction="back" if back else "forward",
        outcome=outcome, detail=detail, started_at=at, ended_at=at if outcome else None,
    )  # fmt: skip


async def _end_note(turn: Turn, outcome: Outcome, detail: str | None) -> None:
    """Of the attempt that the lease was for; the lease ends with it."""
    saga = turn.saga
    saga.lease_token = None
    this = sa.and_(SagaStepRow.saga_id == saga.id, SagaStepRow.number == saga.notes)
    ended = sa.update(SagaStepRow).where(this).values(outcome=outcome, detail=detail, ended_at=turn.at)
    await turn.session.execute(ended.execution_options(synchronize_session=False))


def _in_words(error: Exception) -> str:
    return (str(error) or repr(error))[:500]
