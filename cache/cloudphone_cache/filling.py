"""Filling: one composition at a time per view over all processes, and within a process one for all who wait.

The lease spares work; safety does not rest on it.
"""

import asyncio
import contextlib
import random
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, NamedTuple

from .composition import Composed, Composer
from .entry import Entry, load
from .knowledge import Knowledge
from .local import Local
from .redis import REDIS_ERRORS
from .response import COMPOSED, DEGRADED, JOINED, L2, NOT_FRESH, NOT_STORED, REFRESHED, Source
from .store import Store
from .view import View

Params = Mapping[str, str]


class Filled(NamedTuple):
    """`kept`: whether it may be stored, by who composed it."""

    entry: Entry
    source: Source
    kept: bool = False


class Lease:
    """`stored` is what Redis held when the lease was last asked for, `found` the same if it may be served."""

    __slots__ = ("found", "holder", "mine", "stored")

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.mine = False
        self.stored: Entry | None = None
        self.found: Entry | None = None


class Withdrawn(Exception):
    """A refresh behind the answers gave way to another process's; who joined it asks for himself."""


class Flight:
    """A fill in progress. Its answer is there before its store is done."""

    __slots__ = ("answer", "behind", "task")

    def __init__(self, *, behind: bool) -> None:
        self.behind = behind
        self.answer: asyncio.Future[Filled] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(_retrieve)
        self.task: asyncio.Task[None] | None = None


class Filler:
    """`lease_ms`: how long a fill that died keeps others of other processes waiting at most."""

    def __init__(
        self,
        composer: Composer,
        knowledge: Knowledge,
        local: Local,
        store: Store,
        counts: Counter[str],
        *,
        lease_ms: int,
    ) -> None:
        self._composer = composer
        self._knowledge = knowledge
        self._local = local
        self._store = store
        self._counts = counts
        self._lease_ms = lease_ms
        self._me = secrets.token_hex(8)
        self.flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def usable(self, view: View[Any], entry: Entry) -> bool:
        """Whether an entry may be served: within its time, and proven unless the view is time-bounded."""
        knowledge = self._knowledge
        now = knowledge.now_ms()
        if now >= entry.until:
            return False
        if view.bounded_to is not None:
            return knowledge.current(entry)
        # Said here as well, for it is said at every hit.
        return (entry.tick == knowledge.era and now < knowledge.good_until) or knowledge.proven(entry)

    def composing(self, key: str) -> bool:
        """Whether somebody here is waiting for this view already."""
        flight = self.flights.get(key)
        return flight is not None and not flight.behind

    async def fill(self, view: View[Any], params: Params, key: str, base: Entry | None) -> Filled:
        """The view composed, or what another just composed. Raises what the primary segment raised, absence apart."""
        filled: Filled | None = None
        for _ in range(2):
            flight = self.flights.get(key)
            mine = flight is None or (filled is not None and flight.behind)
            if flight is None or mine:
                flight = self.begin(view, params, key, filled.entry if filled else base)
            else:
                self._counts["joined"] += 1
            try:
                result = await asyncio.shield(flight.answer)
            except Withdrawn:
                continue
            if not self._knowledge.outdated(result.entry.deps):
                return result if mine or result.source not in (COMPOSED, REFRESHED) else result._replace(source=JOINED)
            if mine and result.source is NOT_FRESH:
                return result
            # Begun, or ended, before something that this caller knows of by now.
            filled = result
            self._counts["filled_again"] += 1
        if filled is None:
            return await asyncio.shield(self.begin(view, params, key, base).answer)
        return filled._replace(source=NOT_FRESH)

    def begin(
        self,
        view: View[Any],
        params: Params,
        key: str,
        base: Entry | None,
        *,
        behind: bool = False,
    ) -> Flight:
        """Starts a fill. One `behind` an answer already given has no part in that request's deadline."""
        flight = self.flights[key] = Flight(behind=behind)
        work = self._fly(flight, view, params, key, base)
        # A task begins with a copy of its creator's context, and so with the request's deadline.
        flight.task = asyncio.create_task(work, context=Context()) if behind else asyncio.create_task(work)
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        return flight

    async def _fly(self, flight: Flight, view: View[Any], params: Params, key: str, base: Entry | None) -> None:
        lease = Lease(f"{self._me}:{secrets.token_hex(4)}")
        try:
            if self._may_store(view):
                await self._take(lease, view, key, patient=not flight.behind)
                if lease.found is not None or (flight.behind and not lease.mine):
                    self.land(flight, key, Filled(lease.found, L2) if lease.found else Withdrawn())
                    return
            base = lease.stored or base
            composed = await self._composer.compose(view, params, base)
            storable = self._storable(view, composed)
            if storable:
                self._local.put(key, composed.entry)
            self.land(flight, key, Filled(composed.entry, self._source(composed, storable, base)))
            if storable:
                await self._save(key, composed.entry)
        except Exception as error:
            self.land(flight, key, error)
        finally:
            self.land(flight, key, None)
            if lease.mine:
                with contextlib.suppress(*REDIS_ERRORS):
                    await self._store.release(key, lease.holder)

    def land(self, flight: Flight, key: str, result: Filled | Exception | None) -> None:
        if self.flights.get(key) is flight:
            del self.flights[key]
        if flight.answer.done():
            return
        if isinstance(result, Filled):
            flight.answer.set_result(result)
        elif isinstance(result, Exception):
            flight.answer.set_exception(result)
        else:
            flight.answer.cancel()

    def _source(self, composed: Composed, storable: bool, base: Entry | None) -> Source:
        self._counts["composed"] += 1
        # What a replica lacks may be older than anybody asked, whoever else is away.
        if not composed.lagging and composed.entry.degraded:
            return DEGRADED
        if composed.lagging or self._knowledge.outdated(composed.entry.deps):
            self._counts["not_fresh"] += 1
            return NOT_FRESH
        if not storable:
            return NOT_STORED
        return REFRESHED if base is not None else COMPOSED

    def _may_store(self, view: View[Any]) -> bool:
        return self._store.available and (view.bounded_to is not None or self._knowledge.live)

    def _storable(self, view: View[Any], composed: Composed) -> bool:
        entry = composed.entry
        if not composed.provable:
            self._counts["unprovable"] += 1
            return False
        if composed.lagging or self._knowledge.outdated(entry.deps):
            return False
        if view.bounded_to is not None:
            return True
        return self._knowledge.live and all(position >= 0 for position, _ in entry.deps.values())

    async def _save(self, key: str, entry: Entry) -> None:
        life = entry.hard_until - self._knowledge.now_ms()
        if life <= 0:
            return
        try:
            await self._store.put(key, entry.dump(), life, partial=entry.degraded)
            self._counts["stored"] += 1
        except REDIS_ERRORS:
            self._counts["store_failed"] += 1

    async def _take(self, lease: "Lease", view: View[Any], key: str, *, patient: bool) -> bool:
        """Until the lease is ours, its holder has stored what we want, or the wait is over; whether there was one."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._lease_ms / 1000
        pause = 0.005
        waited = False
        with contextlib.suppress(*REDIS_ERRORS):
            while True:
                lease.mine, stored = await self._store.take(key, lease.holder, self._lease_ms)
                lease.stored = load(stored, view.schema) if stored else None
                if lease.stored is not None and self._as_good_as_new(view, lease.stored):
                    lease.found = lease.stored
                    self._local.put(key, lease.stored)
                if lease.mine or lease.found or not patient or loop.time() >= ends:
                    return waited
                self._counts["waited"] += 1
                waited = True
                await asyncio.sleep(pause * random.uniform(0.8, 1.0))
                pause = min(pause * 1.5, 0.02)
        return waited

    def _as_good_as_new(self, view: View[Any], entry: Entry) -> bool:
        return self.usable(view, entry) and self._knowledge.now_ms() < entry.fresh_until

    def keep(self, view: View[Any], key: str, composed: Composed, base: Entry | None) -> Filled:
        """For one composed in a batch: without a lease, and to be saved with the others."""
        kept = self._storable(view, composed)
        if kept:
            self._local.put(key, composed.entry)
        return Filled(composed.entry, self._source(composed, kept, base), kept)

    async def save_many(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """All in one write."""
        await asyncio.gather(*(self._save(key, entry) for key, entry in entries))

    def save_later(self, entries: Sequence[tuple[str, Entry]]) -> None:
        if not entries:
            return
        task = asyncio.create_task(self.save_many(entries))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def leading(self, view: View[Any], key: str) -> AsyncGenerator[bool]:
        """Holds the lease of something nobody reads by `key`, unless another does for longer than a lease lasts.

        Gives whether it had to be waited for.
        """
        lease = Lease(f"{self._me}:{secrets.token_hex(4)}")
        waited = self._store.available and await self._take(lease, view, key, patient=True)
        try:
            yield waited
        finally:
            if lease.mine:
                with contextlib.suppress(*REDIS_ERRORS):
                    await self._store.release(key, lease.holder)


def _retrieve(answer: "asyncio.Future[Filled]") -> None:
    if not answer.cancelled():
        answer.exception()
