"""The cache: proven → serve; not → compose once; a service down → the last good view, labelled.

Nothing is deleted when something changes: an entry older than what was announced does not pass.
"""

import asyncio
import heapq
import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import msgspec

from .batches import compose_ahead, compose_many
from .cluster import connect
from .composition import Composer, Failures, Missing, observer
from .desk import Desk
from .entry import NEGATIVE, Entry, load
from .explaining import Explained, explained
from .feed import Tail
from .filling import Filled, Filler
from .freshness import Freshness, Versions, token_headers
from .knowledge import Knowledge, Position, Verdict
from .local import Held, Local
from .misses import REASONS, Misses, Why
from .redis import REDIS_ERRORS, parse
from .refreshing import Refresher
from .response import L1, L2, NOT_FRESH, Ready, Served, Source, because, serve
from .response import ready as make_ready
from .store import RedisStore, Store
from .view import NOBODY, Sees, View, everybody

Params = Mapping[str, object]
_EAGER_MS = 10
"""How many times its cost before the soft expiry a view may be refreshed early."""


class Looked(NamedTuple):
    """What Redis held under a key that could not be served, and why that is nothing if it is."""

    key: str
    entry: Entry | None
    missing: Why


class Cache:
    """`core` is handed to the segments' functions; `services` are those whose feeds are heard.

    `redis` is a URL (see `redis.parse`) or a Store; `l1_bytes` 0 does without the process's own layer; `budget_ms` the
    longest a request waits on Redis; `allowed_age` the seconds that a feed may be behind its owner and still prove
    something. `absent`, `refused` and `unavailable` are the exceptions with which services
    answer; absence is raised as the first of `absent`, called without arguments, so that it does not tell what does not
    exist from what may not be seen; the first of `unavailable` is called with a service's name and a reason.
    `freshness_key` is the same in every process; without one, tokens hold in this process alone. A `name`, which
    several may share, puts the process on the board that operators ask; `request_id` tells them which request was a
    miss.
    """

    def __init__(
        self,
        views: Iterable[View[Any]],
        core: Any,
        *,
        redis: "str | Store",
        services: Iterable[str],
        absent: tuple[type[Exception], ...] = (Missing,),
        refused: tuple[type[Exception], ...] = (),
        unavailable: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
        freshness_key: bytes | None = None,
        budget_ms: float = 50.0,
        lease_ms: int = 2000,
        allowed_age: float = 2.0,
        l1_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        feed: bool = True,
        name: str | None = None,
        request_id: Callable[[], str] = lambda: "",
    ) -> None:
        self.views = {view.name: view for view in views}
        for view in self.views.values():
            view.segments  # noqa: B018  # a view that is not whole is refused here, not at its first read
        self.knowledge = Knowledge(services, clock=clock, steady=steady, allowed_age=allowed_age)
        self.counts: Counter[str] = Counter()
        self.store: Store = RedisStore(connect(parse(redis), budget_ms=budget_ms)) if isinstance(redis, str) else redis
        self.local = Local(l1_bytes, self.knowledge, clock=clock)
        self._absent = absent
        self._asking: dict[str, asyncio.Future[bytes | None]] = {}
        self.composer = Composer(core, self.knowledge, Failures(absent, refused, unavailable))
        self.filler = Filler(self.composer, self.knowledge, self.local, self.store, self.counts, lease_ms=lease_ms)
        self.refresher = Refresher(self.local, self.filler, self.knowledge, self.store, self.view_of, self.counts)
        self._freshness = Freshness(freshness_key or secrets.token_bytes(32), self.knowledge.owners_clock)
        self.tail = Tail(parse(redis), self.knowledge) if feed and isinstance(redis, str) else None
        self._tailing: asyncio.Task[None] | None = None
        self.misses = Misses(request_id)
        self.desk = Desk(self, name or "", parse(redis) if name and isinstance(redis, str) else None, l1_bytes)

    async def __aenter__(self) -> "Cache":
        await self.store.start()
        self.refresher.start()
        if self.tail is not None:
            self._tailing = asyncio.create_task(self.tail.run())
        self.desk.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.desk.close()
        if self._tailing is not None:
            self._tailing.cancel()
            await asyncio.gather(self._tailing, return_exceptions=True)
        await self.refresher.close()
        await self.filler.close()
        await self.store.close()

    async def listening(self, *, within: float = 1.0) -> bool:
        """Waits until every service's feed is proven young and Redis can be asked, `within` seconds at most; says
        whether both is so."""
        ends = time.monotonic() + within
        while not (self.store.available and self.knowledge.now_ms() < self.knowledge.good_until):
            if time.monotonic() >= ends:
                return False
            await asyncio.sleep(0.01)
        return True

    async def read(
        self,
        view: View[Any],
        params: Params,
        sees: Sees = everybody,
        *,
        fresh_after: str | None = None,
        if_none_match: str | None = None,
        looked: "Looked | None" = None,
    ) -> Served:
        """The view for a caller; `looked` is what was found in Redis just now.

        Raises what the primary segment's service refused with; absence also for who may not see it; Unavailable when
        a service is away and there is nothing to show instead.
        """
        if fresh_after is not None:
            self.heed(fresh_after)
        key = view.key_of(params)
        entry = self.near(view, key)
        if entry is not None:
            return self.answer(view, key, entry, L1, sees, if_none_match)
        base, missing = None, "collapsed"
        if not self.filler.composing(key):
            # What was looked for in front of the app is not looked for again: a fill does that when it has the lease.
            base, missing = looked[1:] if looked and looked.key == key else await self._look(view, key)
            if base is not None and self.filler.usable(view, base):
                self.local.put(key, base)
                return self.answer(view, key, base, L2, sees, if_none_match)
        self.counts["misses"] += 1
        held = base or self.local.peek(key)
        why = self._missed(view, key, held, missing)
        filled = await self.filler.fill(view, _texts(params), key, held)
        return self.answer(view, key, filled.entry, because(filled.source, why), sees, if_none_match)

    async def read_many(self, view: View[Any], params: Sequence[Params], sees: Sees) -> list[msgspec.Raw | None]:
        """Each view's JSON in order; None where there is none, or the caller may not see it. One MGET per node, and
        what is missing composed in batches. Raises as `read` does, absence apart."""
        keys = [view.key_of(each) for each in params]
        entries: dict[str, Entry] = {key: entry for key in keys if (entry := self.near(view, key)) is not None}
        self.counts["hits_l1"] += len(entries)
        bases = await self._far_many(view, [key for key in dict.fromkeys(keys) if key not in entries])
        for key, base in bases.items():
            if base is not None and self.filler.usable(view, base):
                self.local.put(key, base)
                self.counts["hits_l2"] += 1
                entries[key] = base
        missing = {key: _texts(each) for key, each in zip(keys, params, strict=True) if key not in entries}
        if missing:
            self.counts["misses"] += len(missing)
            for key in missing:
                self._missed(view, key, bases.get(key), "no-entry")
            entries |= _entries(await compose_many(self.composer, self.filler, view, missing, bases))
        await self._renew(view, {key: _texts(each) for key, each in zip(keys, params, strict=True)}, entries)
        now = self.knowledge.now_ms()
        return [
            msgspec.Raw(entry.body_at(view, now))
            if (entry := entries.get(key)) is not None and self.may_see(view, entry, sees)
            else None
            for key in keys
        ]

    async def _renew(self, view: View[Any], wanted: Mapping[str, dict[str, str]], entries: dict[str, Entry]) -> None:
        """Composes once more what was looked at before something that has been heard since."""
        late = {key: entry for key, entry in entries.items() if not self.knowledge.current(entry)}
        if late:
            self.counts["filled_again"] += len(late)
            missing = {key: wanted[key] for key in late}
            entries |= _entries(await compose_many(self.composer, self.filler, view, missing, late))

    def near(self, view: View[Any], key: str) -> Entry | None:
        """The entry in this process, if it may be served. It counts as a read."""
        entry = self.local.get(key)
        return entry if entry is not None and self.filler.usable(view, entry) else None

    def _here(self, view: View[Any], key: str) -> Entry | None:
        entry = self.local.peek(key)
        return entry if entry is not None and self.filler.usable(view, entry) else None

    def answer(
        self, view: View[Any], key: str, entry: Entry, source: Source, sees: Sees, if_none_match: str | None = None
    ) -> Served:
        """An entry as a response to a caller. Raises absence, and Unavailable when who may see it cannot be asked."""
        if not self.may_see(view, entry, sees):
            if entry.kind != NEGATIVE:
                self.misses.note(view.name, key, "audience", REASONS["audience"], self.knowledge.now_ms())
            raise self._refusal(view, entry, sees)
        return self.respond(view, key, entry, source, if_none_match)

    def respond(
        self, view: View[Any], key: str, entry: Entry, source: Source, if_none_match: str | None = None
    ) -> Served:
        """An entry as a response to who may see it."""
        knowledge = self.knowledge
        now = knowledge.now_ms()
        if source is L1:
            self.counts["hits_l1"] += 1
            ready: Ready | None = entry.ready
            if ready is not None and entry.tick == knowledge.era and ready.holds(now, knowledge.beats):
                return ready.answer(if_none_match)
        elif source is L2:
            self.counts["hits_l2"] += 1
        else:
            as_of = None if source is NOT_FRESH else self._as_of(view, entry, source)
            return serve(view, entry, source, now, as_of, if_none_match)
        may_expire = entry.fresh_until - entry.cost_ms * _EAGER_MS
        if now > may_expire:
            self._refresh_if_due(view, key, entry, now)
        as_of = self._as_of(view, entry, source)
        if source is L2 or as_of is None or entry.tick != knowledge.era or now > may_expire:
            return serve(view, entry, source, now, as_of, if_none_match)
        entry.ready = make_ready(view, entry, now, as_of, knowledge.beats, may_expire)
        return entry.ready.answer(if_none_match)

    def heed(self, token: str) -> None:
        """Takes a caller's Fresh-After token into account from now on."""
        for service, versions in self._freshness.read(token).items():
            self.knowledge.merge(service, versions)

    def remember(self, served: Served, token: str, *, secure: bool) -> Served:
        """The answer to a read that brought a Fresh-After token, with one that covers what the answer shows as well.

        So a caller never sees an older state of the same thing later, through whichever process. Only what changed of
        late is noted: everything else every process has heard.
        """
        shown: Versions = {}
        for service, versions in served.versions.items():
            heard = self.knowledge.services.get(service)
            if heard is not None:
                shown[service] = {entity: version for entity, version in versions.items() if entity in heard.latest}
        note = self._freshness.extend(token, shown)
        return served if note is None else served.adding(token_headers(note, secure=secure))

    def write(self, fresh_after: str | None = None) -> "Written":
        """Around a write: `with cache.write() as written`. `fresh_after` is the caller's earlier token."""
        return Written(self.knowledge, self._freshness, fresh_after)

    async def warm(self, view: View[Any], params: Sequence[Params]) -> list[str | Exception]:
        """Of each in order: `"skipped"` when a fresh entry is there, else `"filled"`, or why it could not be.

        What is missing is composed in one batch. Who warms the same at the same time waits, and finds it fresh.
        """
        keys = [view.key_of(each) for each in params]
        wanted = {key: _texts(each) for key, each in zip(keys, params, strict=True)}
        bases = await self._not_fresh(view, wanted)
        found: Mapping[str, Filled | Exception] = {}
        if bases:
            async with self.filler.leading(view, f"warm:{next(iter(bases))}") as waited:
                if waited:
                    bases = await self._not_fresh(view, wanted)
                missing = {key: wanted[key] for key in bases}
                found = await compose_ahead(self.composer, self.filler, view, missing, bases)
        return [_outcome(found.get(key)) for key in keys]

    async def _not_fresh(self, view: View[Any], keys: Iterable[str]) -> dict[str, Entry | None]:
        """Of the keys, those without a fresh entry, with the one that there is."""
        far = await self._far_many(view, [key for key in keys if not self._fresh(view, self.local.peek(key))])
        return {key: entry for key, entry in far.items() if not self._fresh(view, entry)}

    def _fresh(self, view: View[Any], entry: Entry | None) -> bool:
        if entry is None or self.knowledge.now_ms() >= entry.fresh_until:
            return False
        return self.filler.usable(view, entry)

    async def explain(self, view: View[Any], params: Params) -> Explained:
        key = view.key_of(params)
        entry, layer = self._here(view, key), "l1"
        if entry is None:
            far = await self._far(view, key)
            entry, layer = (far, "l2") if far is not None else (self.local.peek(key), "l1")
        if entry is None:
            return Explained(key=key, layer=None)
        verdict = self._verdict(view, entry)
        return explained(key, view, entry, layer, self.knowledge, proven=verdict.proven, reason=verdict.reason)

    async def drop(self, view: View[Any], params: Params) -> bool:
        """Forgets one view here and in Redis; other processes keep their copies while these are proven. Says whether
        there was one. Raises RedisAway, RedisRefused."""
        key = view.key_of(params)
        here = self.local.drop(key)
        return bool(await self.store.drop(key)) or here

    def view_of(self, key: str) -> tuple[View[Any], dict[str, str]] | None:
        """The view and parameters that a key such as `device:full:<id>` spells."""
        for view in self.views.values():
            if (params := view.params_of(key)) is not None:
                return view, params
        return None

    def stats(self) -> dict[str, float]:
        """Counters since start, and sizes."""
        names = (
            "hits_l1", "hits_l2", "misses", "joined", "filled_again", "composed", "stored", "store_failed",
            "refreshed_behind", "refreshed_ahead", "waited", "not_fresh", "unprovable", "unavailable_redis",
            "refused_audience",
        )  # fmt: skip
        redis = self.store.redis if isinstance(self.store, RedisStore) else None
        return {
            **{name: self.counts[name] for name in names},
            "l1_entries": len(self.local),
            "l1_bytes": self.local.bytes,
            "in_flight": len(self.filler.flights),
            "redis_commands": redis.commands if redis else 0,
            "redis_writes": redis.writes if redis else 0,
            "redis_overdue": redis.overdue if redis else 0,
            "redis_reconnects": redis.reconnects if redis else 0,
            "feed_reconnects": self.tail.reconnects if self.tail else 0,
        }

    def hottest(self, count: int) -> list[Held]:
        """What this process holds and was asked for most of late, most asked for first."""
        return heapq.nlargest(count, self.local.held(), key=lambda held: held.hits)

    def feed_positions(self) -> list[Position]:
        return self.knowledge.feed_positions()

    async def _far(self, view: View[Any], key: str) -> Entry | None:
        return (await self._look(view, key))[0]

    async def _look(self, view: View[Any], key: str) -> tuple[Entry | None, Why]:
        """What Redis holds, and why that is nothing if it is."""
        try:
            asked = self._asking.get(key)
            stored = await (self._ask(key) if asked is None else asyncio.shield(asked))
        except REDIS_ERRORS:
            self.counts["unavailable_redis"] += 1
            return None, "redis-away"
        return (load(stored, view.schema), "other-shape") if stored else (None, "no-entry")

    def _missed(self, view: View[Any], key: str, held: Entry | None, missing: Why) -> Why:
        """Notes why what is held could not be served, or why nothing is held."""
        now, why, reason = self.knowledge.now_ms(), missing, REASONS[missing]
        if held is not None:
            why = "expired" if now >= held.until else "not-proven"
            reason = self._verdict(view, held).reason
        self.misses.note(view.name, key, why, reason, now)
        return why

    async def _ask(self, key: str) -> bytes | None:
        """One GET for all in this process who want the same at once."""
        asked = self._asking[key] = asyncio.ensure_future(self.store.get(key))
        try:
            return await asyncio.shield(asked)
        finally:
            if self._asking.get(key) is asked:
                del self._asking[key]

    async def _far_many(self, view: View[Any], keys: list[str]) -> dict[str, Entry | None]:
        try:
            stored = await self.store.get_many(keys) if keys else []
        except REDIS_ERRORS:
            self.counts["unavailable_redis"] += 1
            stored = [None] * len(keys)
        found = {key: load(value, view.schema) if value else None for key, value in zip(keys, stored, strict=True)}
        return {key: entry or self.local.peek(key) for key, entry in found.items()}

    def may_see(self, view: View[Any], entry: Entry, sees: Sees) -> bool:
        """Nobody sees what is absent; everything else, who belongs to its audience."""
        if entry.kind == NEGATIVE:
            return False
        if not sees(entry.audience):
            self.counts["refused_audience"] += 1
            return False
        if not entry.degraded or entry.audience_is_good(view):
            return True
        # Who may see it was read before its service fell silent; it must not have changed since, as far as is known.
        return self.knowledge.unchanged(entry.deps_of(view, view.audience_of)) or sees(NOBODY)

    def _refusal(self, view: View[Any], entry: Entry, sees: Sees) -> Exception:
        if entry.kind == NEGATIVE or not sees(entry.audience):
            return self._absent[0]()
        # It was the caller's when it was read; whether it still is, only the silent service could say.
        silent = next(iter(entry.deps_of(view, view.audience_of)), "")
        return self.composer.failures.unavailable[0](silent, "it cannot say who may see this now")

    def _as_of(self, view: View[Any], entry: Entry, source: Source) -> int | None:
        if view.bounded_to is not None or entry.degraded or not entry.deps:
            return entry.as_of
        if not self.knowledge.current(entry):
            return None
        if source is L1 or source is L2 or self.knowledge.proven(entry):
            return self.knowledge.as_of(entry.deps)
        return entry.as_of

    def _refresh_if_due(self, view: View[Any], key: str, entry: Entry, now: int) -> None:
        # The later, the likelier: of many readers one refreshes just before the soft expiry, whatever their number.
        early = -entry.cost_ms * math.log(1.0 - random.random())
        if now + early < entry.fresh_until or view.bounded_to is not None or key in self.filler.flights:
            return
        if entry.degraded or not self.store.available:
            return
        self.refresher.expiring(key, entry)

    def _verdict(self, view: View[Any], entry: Entry) -> Verdict:
        now = self.knowledge.now_ms()
        if now >= entry.until:
            over = (now - entry.until) / 1000
            return Verdict(False, f"its time was over {over:.1f} s ago")
        if view.bounded_to is not None:
            return Verdict(not self.knowledge.outdated(entry.deps), f"it is bounded to {view.bounded_to:g} s of age")
        return self.knowledge.verdict(entry.deps)


class Written:
    """What a write's answers showed. `token` is the Fresh-After token for its caller, None when nothing was shown."""

    def __init__(self, knowledge: Knowledge, freshness: Freshness, earlier: str | None) -> None:
        self._knowledge = knowledge
        self._freshness = freshness
        self._earlier = earlier
        self._versions: Versions = {}

    def __enter__(self) -> "Written":
        self._reset = observer.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        observer.reset(self._reset)

    def observe(self, service: str, entities: Mapping[str, int], seq: int | None) -> None:
        known = self._versions.setdefault(service, {})
        for entity, version in entities.items():
            known[entity] = max(version, known.get(entity, 0))
        self._knowledge.merge(service, entities)

    @property
    def token(self) -> str | None:
        return self._freshness.extend(self._earlier or "", self._versions)


def _entries(found: Mapping[str, Filled | Exception]) -> dict[str, Entry]:
    """Raises the first failure there is."""
    for result in found.values():
        if isinstance(result, Exception):
            raise result
    return {key: result.entry for key, result in found.items() if isinstance(result, Filled)}


def _outcome(result: Filled | Exception | None) -> str | Exception:
    return "skipped" if result is None else result if isinstance(result, Exception) else "filled"


def _texts(params: Params) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}
