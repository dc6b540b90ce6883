"""Any history of allocations: requests, refusals, releases, leases and nodes that come and go, with messages that are
lost from sight, doubled and swapped, and use cases that are cut off anywhere."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cloudphone_core.scheduler import queue, service
from cloudphone_core.scheduler.models import SCHEMA
from cloudphone_core.scheduler.subscribers import DEVICE_ALLOCATE, INVENTORY, follow, opened
from cloudphone_shared.contracts.device import NodeStatus
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceAllocated, DeviceAllocationRefused, DeviceStatusChanged
from cloudphone_shared.events.scheduler import (
    AllocationReleased,
    AllocationReserved,
    DeviceAllocateReplied,
    DeviceAllocateRequested,
    DeviceReleaseRequested,
)
from tests.core.owners import Owners
from tests.core.scheduler.conftest import PATIENCE, World, empty, envelope
from tests.signing import Signer

LIVE = "state IN ('reserved', 'active')"


class Cut(Exception):
    """The worker died here."""


class Phone:
    """A device as the device service keeps it: it obeys a reservation with a higher token than it has seen."""

    def __init__(self, device_id: UUID, tenant_id: UUID) -> None:
        self.id, self.tenant_id = device_id, tenant_id
        self.version, self.seq = 10**13, 0
        self.seen, self.holder = 0, 0

    def obey(self, told: AllocationReserved | AllocationReleased) -> list[Envelope]:
        if isinstance(told, AllocationReleased):
            self.seen = max(self.seen, told.fencing_token)
            if self.holder != told.fencing_token:
                return []
            self.holder = 0
            return self._tell(self._became("cleaning"), self._became("idle"))
        if told.fencing_token <= self.seen:
            return []
        self.seen = told.fencing_token
        answer: dict[str, Any] = {
            "device_id": self.id, "tenant_id": self.tenant_id, "allocation_id": told.allocation_id,
            "fencing_token": told.fencing_token,
        }  # fmt: skip
        if self.holder:
            return self._tell(DeviceAllocationRefused(**answer, reason="it is another's"))
        self.holder = told.fencing_token
        return self._tell(self._became("allocated"), DeviceAllocated(**answer, user_id=told.user_id))

    def _became(self, state: str) -> DeviceStatusChanged:
        return DeviceStatusChanged(
            device_id=self.id, tenant_id=self.tenant_id, user_id=None, old_status="", new_status=state, reason=""
        )

    def _tell(self, *events: Event) -> list[Envelope]:
        self.version += 1
        told: list[Envelope] = []
        for event in events:
            self.seq += 1
            told.append(envelope(event, self.version, self.seq))
        return told


class Histories(RuleBasedStateMachine):
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.run(self._begin())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _begin(self) -> None:
        self.database = Database(self.url, schema=SCHEMA, service="scheduler", pool_size=2)
        self.statements = -1
        sa.event.listen(self.database._engine.sync_engine, "before_cursor_execute", self._count)
        nowhere: Any = None
        self.world = world = World(nowhere, self.database, Signer(), Owners())
        await empty(self.database)
        self.nodes: dict[UUID, NodeStatus] = {}
        self.phones: dict[UUID, Phone] = {}
        self.tenants = [world.tenant, uuid4()]
        for _ in range(2):
            node = await world.node()
            self.nodes[node] = "online"
            for tenant in self.tenants:
                for phone in await world.phones(node, 1, tenant=tenant):
                    self.phones[phone] = Phone(phone, tenant)
        self.asked: list[Envelope] = []
        self.to_phones: list[AllocationReserved | AllocationReleased] = []
        self.to_scheduler: list[Envelope] = []
        self.read = 0
        self.known: set[UUID] = set()

    def _count(self, *_: Any) -> None:
        if self.statements > 0:
            self.statements -= 1
            if self.statements == 0:
                raise Cut

    async def _consume(self, queue_name: str, envelope: Envelope, dies_at: int = 0) -> bool:
        """As the worker takes a message; False when it died before the commit."""
        self.statements = dies_at
        try:
            async with self.database.writing() as session:
                if await first_time(session, queue_name, envelope):
                    if queue_name == DEVICE_ALLOCATE:
                        asked = opened(envelope, DeviceAllocateRequested)
                        await service.request_for_order(session, asked, PATIENCE)
                    else:
                        await follow(session, envelope, PATIENCE)
        except Cut:
            return False
        finally:
            self.statements = -1
        await self._relay()
        return True

    async def _relay(self) -> None:
        """What was committed is on its way to the devices."""
        rows = await self.world.rows(
            "SELECT id, type, payload::text FROM scheduler.outbox WHERE id > :read ORDER BY id", read=self.read
        )
        for number, kind, payload in rows:
            self.read = number
            for event in (AllocationReserved, AllocationReleased):
                if kind == event.type:
                    self.to_phones.append(msgspec.json.decode(payload, type=event))

    @rule(tenant=st.sampled_from([0, 1]), dies_at=st.integers(0, 14))
    def order(self, tenant: int, dies_at: int) -> None:
        saga_id = uuid4()
        asked = DeviceAllocateRequested(
            saga_id=saga_id, order_id=saga_id, user_id=uuid4(), tenant_id=self.tenants[tenant], plan_id=None,
            deadline=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        message = envelope(asked, 0)
        self.asked.append(message)
        if not self.run(self._consume(DEVICE_ALLOCATE, message, dies_at)):
            assert self.run(self._consume(DEVICE_ALLOCATE, message))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), anew=st.booleans())
    def order_again(self, data: st.DataObject, anew: bool) -> None:
        message = data.draw(st.sampled_from(self.asked))
        if anew:
            message = msgspec.structs.replace(message, event_id=uuid4())
        self.run(self._consume(DEVICE_ALLOCATE, message))

    @precondition(lambda self: self.to_phones)
    @rule(data=st.data(), twice=st.booleans())
    def a_phone_hears(self, data: st.DataObject, twice: bool) -> None:
        told = data.draw(st.sampled_from(self.to_phones))
        if not twice:
            self.to_phones.remove(told)
        self.to_scheduler += self.phones[told.device_id].obey(told)

    @precondition(lambda self: self.to_scheduler)
    @rule(data=st.data(), twice=st.booleans(), dies_at=st.integers(0, 8))
    def the_scheduler_hears(self, data: st.DataObject, twice: bool, dies_at: int) -> None:
        message = data.draw(st.sampled_from(self.to_scheduler))
        done = self.run(self._consume(INVENTORY, message, dies_at))
        if done and not twice:
            self.to_scheduler.remove(message)

    @rule(data=st.data(), stale=st.booleans())
    def give_back(self, data: st.DataObject, stale: bool) -> None:
        rows = self.run(self.world.rows("SELECT id, device_id, fencing_token FROM scheduler.allocations ORDER BY id"))
        if not rows:
            return
        allocation_id, device_id, token = data.draw(st.sampled_from(rows))
        before = self.run(self._live())
        asked = DeviceReleaseRequested(
            device_id=device_id, allocation_id=allocation_id, fencing_token=token - 1 if stale else token, reason="over"
        )
        assert self.run(self._release(asked)) != stale
        assert not stale or self.run(self._live()) == before

    async def _release(self, asked: DeviceReleaseRequested) -> bool:
        async with self.database.writing() as session:
            done = await service.release_for_order(session, asked, PATIENCE)
        await self._relay()
        return done

    @rule(data=st.data(), what=st.sampled_from(["lease", "deadline"]))
    def time_runs_out(self, data: st.DataObject, what: str) -> None:
        table, column, where = {
            "lease": ("allocations", "lease_until", LIVE),
            "deadline": ("requests", "deadline_at", "state = 'queued'"),
        }[what]
        rows = self.run(self.world.rows(f"SELECT id FROM scheduler.{table} WHERE {where} ORDER BY id"))
        if rows:
            (row_id,) = data.draw(st.sampled_from(rows))
            past = f"UPDATE scheduler.{table} SET {column} = now() - interval '1 second' WHERE id = :id"
            self.run(self.world.rows(past, id=row_id))
        self.run(self._sweep())

    @rule(data=st.data(), status=st.sampled_from(["online", "draining", "offline"]))
    def a_node_changes(self, data: st.DataObject, status: NodeStatus) -> None:
        node = data.draw(st.sampled_from(list(self.nodes)))
        self.nodes[node] = status
        self.run(self.world.node(id=node, status=status))

    @rule()
    def sweep(self) -> None:
        self.run(self._sweep())

    async def _sweep(self) -> None:
        await queue.expire(self.database, PATIENCE)
        await queue.serve(self.database, PATIENCE)
        await self._relay()

    async def _live(self) -> list[Any]:
        return await self.world.rows(f"SELECT device_id, id FROM scheduler.allocations WHERE {LIVE} ORDER BY id")

    @invariant()
    def one_live_allocation_per_device_and_all_books_agree(self) -> None:
        live = self.run(self._live())
        assert len({row.device_id for row in live}) == len(live)
        bound = "SELECT id, allocation_id FROM scheduler.devices WHERE allocation_id IS NOT NULL ORDER BY allocation_id"
        assert sorted(map(tuple, self.run(self.world.rows(bound)))) == sorted(map(tuple, live))
        counted = f"""
            SELECT n.live, (SELECT count(*) FROM scheduler.allocations AS a WHERE a.node_id = n.id AND {LIVE})
            FROM scheduler.nodes AS n
        """
        assert all(one == other for one, other in self.run(self.world.rows(counted)))

    @invariant()
    def nothing_is_placed_on_a_node_that_takes_nothing(self) -> None:
        rows = self.run(self.world.rows("SELECT id, node_id, device_id, tenant_id FROM scheduler.allocations"))
        for row in rows:
            if row.id not in self.known:
                self.known.add(row.id)
                assert self.nodes[row.node_id] == "online"
                assert self.phones[row.device_id].tenant_id == row.tenant_id

    @invariant()
    def an_order_has_one_request_and_is_told_one_thing(self) -> None:
        replies = self.run(self.world.announced(DeviceAllocateReplied))
        told: dict[UUID, set[UUID]] = {}
        for reply in replies:
            if reply.success:
                told.setdefault(reply.saga_id, set()).add(reply.allocation_id)
        assert all(len(allocations) == 1 for allocations in told.values())
        sagas = {opened(message, DeviceAllocateRequested).saga_id for message in self.asked}
        rows = self.run(self.world.rows("SELECT saga_id, state, replied FROM scheduler.requests"))
        assert {row.saga_id for row in rows} == sagas and len(rows) == len(sagas)
        for row in rows:
            assert row.state not in ("expired", "refused", "cancelled") or row.replied == "failure"

    def teardown(self) -> None:
        try:
            if hasattr(self, "known"):
                self.run(self._all_are_served())
                self.run(self.database.close())
        finally:
            self.runner.close()

    async def _all_are_served(self) -> None:
        """Once every node is back and all messages arrive, whoever waits gets a device when others give theirs back."""
        for node in self.nodes:
            self.nodes[node] = "online"
            await self.world.node(id=node)
        for _ in range(30):
            while self.to_phones or self.to_scheduler:
                for told in self.to_phones:
                    self.to_scheduler += self.phones[told.device_id].obey(told)
                messages, self.to_phones, self.to_scheduler = self.to_scheduler, [], []
                for message in messages:
                    await self._consume(INVENTORY, message)
            await self._sweep()
            left = await self.world.rows("SELECT count(*) FROM scheduler.requests WHERE state = 'queued'")
            held = {phone.id: phone.holder for phone in self.phones.values() if phone.holder}
            tokens = f"SELECT device_id, fencing_token FROM scheduler.allocations WHERE {LIVE}"
            live = {row.device_id: row.fencing_token for row in await self.world.rows(tokens)}
            if not self.to_phones:
                assert held == live, "the devices are whose the allocations say"
                if not left[0][0]:
                    return
                rows = await self.world.rows(
                    f"SELECT id, device_id, fencing_token FROM scheduler.allocations WHERE {LIVE}"
                )
                for row in rows:
                    over = {"allocation_id": row.id, "fencing_token": row.fencing_token, "reason": "over"}
                    await self._release(DeviceReleaseRequested(device_id=row.device_id, **over))
        raise AssertionError("somebody waits for ever")


def test_every_history_keeps_its_promises(url: str) -> None:
    Histories.url = url
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Histories, settings=settings(max_examples=6, stateful_step_count=18, deadline=None)
    )
