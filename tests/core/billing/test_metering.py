"""What is told of runs, in any order and as often as you like, gives the same usage: that of a plain model."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_core.billing import reads, subscribers
from cloudphone_core.billing.models import SCHEMA, ClosedBy
from cloudphone_core.billing.open_runs import Patience, ask_about_open_runs
from cloudphone_shared.bus import Delivery
from cloudphone_shared.contracts.device import DeviceRun
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped
from cloudphone_shared.ids import uuid7
from tests.core.owners import Owners
from tests.signing import Signer

BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PATIENCE = Patience(older_than=2 * MINUTE, again_after=MINUTE, silent_after=20 * MINUTE, reopens_within=600 * MINUTE)
SIGNER = Signer()
TENANT, ANA, BEN = uuid7(), uuid7(), uuid7()


class Crash(Exception):
    """The worker ends between the effect and its commit."""


class Fuse:
    """A database whose next transaction comes to nothing when it is `lit`."""

    def __init__(self, database: Database) -> None:
        self._database, self.lit = database, False

    def writing(self) -> Any:
        return self._unless_lit()

    @asynccontextmanager
    async def _unless_lit(self) -> AsyncGenerator[AsyncSession]:
        async with self._database.writing() as session:
            yield session
            await session.flush()
            if self.lit:
                self.lit = False
                raise Crash


class Taken:
    """Stands where the bus would: each queue's handler, to be called in whatever order."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def subscribe(self, queue: str, patterns: list[str], handler: Any) -> None:
        self.handlers[patterns[0]] = handler


class Run(msgspec.Struct, kw_only=True):
    """A run as it truly was; `told` and `stop_told` say what billing has heard."""

    run_id: UUID
    device_id: UUID
    user_id: UUID | None
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None = None
    closed_by: ClosedBy | None = None
    told: bool = False
    stop_told: bool = False


class Metering(RuleBasedStateMachine):
    """Two phones, started and stopped; what is announced of them is lost, repeated, swapped, and cut by crashes."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.now = BEGAN
        self.owners, self.runs, self.flying = Owners(), list[Run](), list[Envelope]()
        self.devices = uuid7(), uuid7()
        self.loop.run(self._open())

    async def _open(self) -> None:
        self.database = Database(self.url, schema=SCHEMA, service="billing", pool_size=4)
        self.core = self.owners.clients(SIGNER, "billing")
        self.fuse, taken = Fuse(self.database), Taken()
        subscribers.subscribe(taken, self.fuse, lambda: self.now)  # type: ignore[arg-type]
        self.handlers = taken.handlers
        async with self.database.writing() as session:
            await session.execute(text("TRUNCATE billing.usage_adjustments, billing.usage_records, billing.inbox"))

    @rule(which=st.sampled_from([0, 1]), user=st.sampled_from([ANA, ANA, BEN, None]))
    def start(self, which: int, user: UUID | None) -> None:
        """Also while the run before is not known to have ended."""
        run = Run(run_id=uuid7(), device_id=self.devices[which], user_id=user, started_at=self.now, seen_at=self.now)
        self.runs.append(run)
        self._announce(
            DeviceStarted(
                device_id=run.device_id, tenant_id=TENANT, user_id=user, run_id=run.run_id, started_at=run.started_at
            )
        )

    @precondition(lambda self: self._open_runs())
    @rule(which=st.integers(0), closed_by=st.sampled_from(["event", "heartbeat"]))
    def stop(self, which: int, closed_by: ClosedBy) -> None:
        run = self._open_runs()[which % len(self._open_runs())]
        run.stopped_at, run.closed_by = self.now if closed_by == "event" else run.seen_at, closed_by
        self._announce(
            DeviceStopped(
                device_id=run.device_id, tenant_id=TENANT, user_id=run.user_id, run_id=run.run_id,
                started_at=run.started_at, stopped_at=run.stopped_at, reason="asked for", closed_by=closed_by,
            )
        )  # fmt: skip

    @rule(minutes=st.integers(1, 15), seen=st.booleans())
    def time_passes(self, minutes: int, seen: bool) -> None:
        self.now += minutes * MINUTE + timedelta(microseconds=minutes)
        for run in self._open_runs():
            run.seen_at = self.now if seen else run.seen_at

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0), again=st.booleans(), crash=st.booleans())
    def arrives(self, which: int, again: bool, crash: bool) -> None:
        """Any one, whatever was announced before it; `again`: it will come once more."""
        envelope = self.flying[which % len(self.flying)]
        if crash:
            self.fuse.lit = True
            with pytest.raises(Crash):
                self.loop.run(self._take_in(envelope))
            return
        self.loop.run(self._take_in(envelope))
        self._heard(envelope)
        if not again:
            self.flying.remove(envelope)

    @precondition(lambda self: len(self.flying) > 1)
    @rule()
    def all_arrive_at_once(self) -> None:
        async def at_once() -> None:
            await asyncio.gather(*map(self._take_in, self.flying))

        self.loop.run(at_once())
        for envelope in self.flying:
            self._heard(envelope)
        self.flying.clear()

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0))
    def never_arrives(self, which: int) -> None:
        self.flying.pop(which % len(self.flying))

    @rule()
    def the_owner_is_asked(self) -> None:
        self.owners.runs = {run.run_id: self._as_known(run) for run in self.runs}
        while self.loop.run(ask_about_open_runs(self.database, self.core, self.now, PATIENCE)):
            pass

    @invariant()
    def intervals_never_overlap_and_what_was_told_stands(self) -> None:
        known = self._recorded()
        assert set(known) == {run.run_id for run in self.runs if run.told}
        for run, later in self._in_order():
            stopped_at = known[run.run_id]
            assert stopped_at is None or run.started_at <= stopped_at <= self.now
            if later is not None:
                assert stopped_at is not None and stopped_at <= later.started_at
            if run.stop_told and run.stopped_at is not None:
                assert stopped_at == (min(run.stopped_at, later.started_at) if later else run.stopped_at)

    def teardown(self) -> None:
        try:
            self.all_arrive_at_once()
            # The last answer: what was announced and lost is known now, and what runs has just been seen.
            self.time_passes(15, seen=True)
            self.the_owner_is_asked()
            self._is_the_same_usage()
        finally:
            self.loop.run(self._close())
            self.loop.close()

    def _is_the_same_usage(self) -> None:
        known, expected = self._recorded(), Counter[UUID]()
        for run, later in self._in_order():
            ends = [end for end in (run.stopped_at, later and later.started_at) if end is not None]
            assert known[run.run_id] == min(ends, default=None)
            if run.user_id is not None and ends:
                expected[run.user_id] += (min(ends) - run.started_at) // timedelta(microseconds=1)
        for user in (ANA, BEN):
            shown = self.loop.run(reads.user_usage(self.database, user, self.now)).data
            assert abs(shown.seconds - expected[user] / 1_000_000) < 1 + len(shown.devices)

    async def _close(self) -> None:
        await self.core.__aexit__(None, None, None)
        await self.database.close()

    def _announce(self, event: Event) -> None:
        data = msgspec.Raw(msgspec.json.encode(event))
        self.flying.append(
            Envelope(event_id=uuid7(), type=event.type, version=1, time=self.now, source="device", data=data)
        )

    async def _take_in(self, envelope: Envelope) -> None:
        await self.handlers[envelope.type](envelope, Delivery(queue="", attempt=1))

    def _heard(self, envelope: Envelope) -> None:
        run_id = msgspec.json.decode(envelope.data, type=dict[str, Any])["runId"]
        run = next(run for run in self.runs if str(run.run_id) == run_id)
        run.told, run.stop_told = True, run.stop_told or envelope.type == DeviceStopped.type

    def _open_runs(self) -> list[Run]:
        return [run for run in self.runs if run.stopped_at is None]

    def _as_known(self, run: Run) -> DeviceRun:
        return DeviceRun(
            run_id=run.run_id, device_id=run.device_id, tenant_id=TENANT, user_id=run.user_id,
            started_at=run.started_at, stopped_at=run.stopped_at, closed_by=run.closed_by, last_seen_at=run.seen_at,
        )  # fmt: skip

    def _in_order(self) -> list[tuple[Run, Run | None]]:
        """Each run that billing knows, with the next it knows of that device."""
        pairs: list[tuple[Run, Run | None]] = []
        for device in self.devices:
            known = [run for run in self.runs if run.told and run.device_id == device]
            known.sort(key=lambda run: (run.started_at, run.run_id))
            pairs += zip(known, [*known[1:], None], strict=False)
        return pairs

    def _recorded(self) -> dict[UUID, datetime | None]:
        async def rows() -> Any:
            async with self.database.reading() as session:
                return (await session.execute(text("SELECT run_id, stopped_at FROM billing.usage_records"))).all()

        return {row.run_id: row.stopped_at for row in self.loop.run(rows())}


def test_any_order_any_repetition_and_any_crash_give_the_same_usage(database_url: str) -> None:
    Metering.url = database_url
    run_state_machine_as_test(Metering, settings=settings(max_examples=10, stateful_step_count=25, deadline=None))
