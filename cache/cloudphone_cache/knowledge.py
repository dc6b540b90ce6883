"""What this process has heard of every service's changes, and what that proves about an entry.

An entry is proven when every change that it might lack would have been heard: the window of what was heard without
a hole (`since`) reaches back to where composing began, nothing newer than it shows was announced, and the feed is
young. What is held in process is watched: a change heard marks just the entries that show it older, so that one
proven before and not marked since needs a look at the clock only.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from .shown import NOTHING, Checked, Dependencies, Place, Shown

INCARNATION = 10**12
"""Change numbers and versions are incarnation * INCARNATION + a counter."""

_SKEW_MS = 60_000
_MOVED_SECONDS = 0.05
_NOT_HEARD = 2**62
_MOST_MARKED = 256
"""Places that one change marks one by one."""


class Verdict(NamedTuple):
    proven: bool
    reason: str


class Position(NamedTuple):
    """How far a service's feed is known here: `age_ms` is the most its owner's commits may be ahead of it."""

    service: str
    position: int | None
    since: int | None
    as_of_ms: int | None
    age_ms: int | None
    remembered: int


class Stand(NamedTuple):
    """Per service whose feed is known: how far it has been heard, and up to which moment that reaches, in milliseconds
    on this process's clock; 0 before the first heartbeat."""

    positions: Mapping[str, int]
    reaches: Mapping[str, int]


class Heard:
    """One service's feed. `latest` is the highest version announced per entity; nothing after `since` was missed.

    `shown` is where the entries that show its entities are held.
    """

    __slots__ = ("_turn", "as_of", "good_until", "latest", "position", "shown", "since", "skew")

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}
        self.shown = Shown()
        self._turn: dict[str, int] = {}
        self.position = -1
        self.since = _NOT_HEARD
        self.as_of = 0
        self.skew = Skew()
        self.good_until = 0
        """Milliseconds on this process's clock until which the feed counts as young."""

    def note(self, entities: Iterable[tuple[str, int]], seq: int) -> list[tuple[str, int]] | None:
        """Entities named by change `seq`; the most recently named stand last in line for being dropped. Those that are
        shown here and were announced at something new, if any."""
        latest, turn, shown = self.latest, self._turn, self.shown
        news: list[tuple[str, int]] | None = None
        for entity, version in entities:
            if version > latest.get(entity, 0):
                latest[entity] = version
                if entity in shown:
                    news = [*(news or ()), (entity, version)]
            # Never a lower one than before: numbers of one timeline are heard in order, and another begins anew.
            turn.pop(entity, None)
            turn[entity] = seq
        return news

    def forget(self, count: int) -> None:
        # What is dropped may have been numbered up to its turn: from there on the window begins.
        for entity in list(islice(self._turn, count)):
            self.since = max(self.since, self._turn.pop(entity))
            del self.latest[entity]

    def begin(self, since: int, *, anew: bool) -> None:
        self.since = since
        if anew:
            self.latest.clear()
            self._turn.clear()
            self.as_of = self.good_until = 0

    def beat(self, t_ms: int, now_ms: int, allowed_ms: int) -> None:
        if t_ms < self.as_of:
            # The owner's clock was set back, and what it is ahead of ours has to be learnt anew.
            self.skew = Skew()
        self.as_of = t_ms
        self.skew.note(t_ms - now_ms, now_ms)
        self.good_until = t_ms - self.ahead + allowed_ms

    @property
    def ahead(self) -> int:
        """Milliseconds that the owner's clock may be ahead of this process's."""
        return max(0, self.skew.most)

    @property
    def reaches(self) -> int:
        """`as_of` as this process's clock told it, or a little earlier; 0 before the first heartbeat."""
        return self.as_of and self.as_of - min(0, self.skew.most)

    def shift(self, by_ms: int) -> None:
        """This process's clock was moved."""
        self.skew.shift(by_ms)
        # Set forward it may have been because time has passed unnoticed, in a machine that was suspended.
        self.good_until += min(by_ms, 0)


class Skew:
    """The most that the owner's heartbeats were ahead of this process's clock on arrival, over the last minutes.

    Milliseconds; negative when the owner is behind, or its heartbeats are slow to arrive.
    """

    __slots__ = ("_before", "_began", "_recent")

    def __init__(self) -> None:
        self._recent: int | None = None
        self._before: int | None = None
        self._began = 0

    def note(self, ahead_ms: int, now_ms: int) -> None:
        if now_ms - self._began >= _SKEW_MS:
            self._before, self._recent, self._began = self._recent, None, now_ms
        self._recent = ahead_ms if self._recent is None else max(self._recent, ahead_ms)

    @property
    def most(self) -> int:
        """0 before anything was heard."""
        return max((each for each in (self._recent, self._before) if each is not None), default=0)

    def shift(self, by_ms: int) -> None:
        self._began += by_ms
        self._recent = None if self._recent is None else self._recent - by_ms
        self._before = None if self._before is None else self._before - by_ms


class Knowledge:
    """`allowed_age` in seconds; `remember` entities per service at most; `clock` in seconds since 1970.

    `steady` is a clock that nobody sets: what `clock` gains or loses against it, it was moved by.
    """

    def __init__(
        self,
        services: Iterable[str],
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        allowed_age: float = 2.0,
        remember: int = 600_000,
    ) -> None:
        self.services = {service: Heard() for service in services}
        self.tick = 1
        """Raised by everything that could make a proven entry unproven, except time."""
        self.era = 1
        """Raised by what could make any entry unproven: a hole, a new incarnation, something forgotten."""
        self.on_marked: Callable[[Any], None] | None = None
        """Told each place whose entry a change has outdated, within the hearing of it."""
        self.on_many_marked: Callable[[list[Any]], None] | None = None
        """Told instead, when a change is shown in very many places, all of these."""
        self.beats = 0
        self.good_until = 0
        """Until when (ms) every service's feed is young."""
        self._clock = clock
        self._steady = steady or (time.monotonic if clock is time.time else clock)
        self._set_at = clock() - self._steady()
        self._allowed_ms = round(allowed_age * 1000)
        self._remember = remember
        self._read_at = 0.0

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @property
    def live(self) -> bool:
        """Whether the feed's connection has answered of late, with news or without."""
        return self._clock() - self._read_at < self._allowed_ms / 1000

    def connection_answered(self) -> None:
        self.mind_the_clock()
        self._read_at = self._clock()

    def mind_the_clock(self) -> None:
        """Called every second or so, whether the feed is heard or not: if this process's clock was moved meanwhile,
        what was noted by it is moved along."""
        set_at = self._clock() - self._steady()
        if abs(set_at - self._set_at) < _MOVED_SECONDS:
            return
        by_ms = round((set_at - self._set_at) * 1000)
        self._set_at = set_at
        for heard in self.services.values():
            heard.shift(by_ms)
        self.good_until = min(each.good_until for each in self.services.values())
        self.beats += 1

    def hear_change(self, service: str, seq: int, entities: Mapping[str, int]) -> None:
        heard = self.services[service]
        if seq != heard.position + 1:
            if seq <= heard.position:
                # A repeat: what it says was said, or its timeline is gone.
                if seq // INCARNATION == heard.position // INCARNATION:
                    self.merge(service, entities)
                return
            heard.begin(seq - 1, anew=_higher(seq, heard.position))
            self.era += 1
        heard.position = seq
        self.tick += 1
        if news := heard.note(entities.items(), seq):
            self._mark(service, heard, news)
        if len(heard.latest) > self._remember:
            heard.forget(len(heard.latest) - self._remember + self._remember // 16)
            self.era += 1

    def hear_beat(self, service: str, seq: int, t_ms: int) -> None:
        """All that the service committed before `t_ms` (its database's clock) has a number of `seq` at most."""
        heard = self.services[service]
        if seq < heard.position:
            return
        if seq > heard.position:
            heard.begin(seq, anew=_higher(seq, heard.position))
            heard.position = seq
            self.tick += 1
            self.era += 1
        heard.beat(t_ms, self.now_ms(), self._allowed_ms)
        self.good_until = min(each.good_until for each in self.services.values())
        self.beats += 1

    def merge(self, service: str, entities: Mapping[str, int]) -> None:
        """Versions heard by another way than the feed: an answer to a write, or a caller's token."""
        heard = self.services.get(service)
        if heard is None:
            return
        latest = heard.latest
        newer = [(entity, version) for entity, version in entities.items() if version > latest.get(entity, 0)]
        if newer:
            self.tick += 1
            if news := heard.note(newer, max(heard.position, 0)):
                self._mark(service, heard, news)

    def positions(self) -> dict[str, int]:
        """Per service whose feed is known. A fill stamps its entry with what stood here when it began to ask."""
        return {service: heard.position for service, heard in self.services.items() if heard.since != _NOT_HEARD}

    def stand(self) -> Stand:
        known = {service: heard for service, heard in self.services.items() if heard.since != _NOT_HEARD}
        return Stand(self.positions(), {service: heard.reaches for service, heard in known.items()})

    def watch(self, place: Place, earlier: Checked | None = None) -> None:
        """From now on changes mark the entry held there; it stands in for `earlier`, which is no longer watched."""
        entry = place.entry
        if earlier is not None:
            self._forsake(earlier)
        for service, (_, versions) in entry.deps.items():
            if (heard := self.services.get(service)) is not None:
                before = earlier.deps.get(service) if earlier is not None else None
                heard.shown.move(place, before[1] if before is not None else NOTHING, versions)
        if earlier is not None:
            for service in earlier.deps.keys() - entry.deps.keys():
                if (heard := self.services.get(service)) is not None:
                    heard.shown.move(place, earlier.deps[service][1], NOTHING)
        entry.watched = True

    def unwatch(self, place: Place) -> None:
        entry = place.entry
        self._forsake(entry)
        for service, (_, versions) in entry.deps.items():
            if (heard := self.services.get(service)) is not None:
                heard.shown.move(place, versions, NOTHING)

    def _forsake(self, entry: Checked) -> None:
        # Somebody may still hold it in hand: from here on it has to be looked at in full.
        entry.watched = False
        entry.tick = 0

    def _mark(self, service: str, heard: Heard, news: Iterable[tuple[str, int]]) -> None:
        for entity, version in news:
            places = heard.shown.places(entity)
            if len(places) <= _MOST_MARKED:
                for place in places:
                    self._mark_one(service, place, entity, version)
            else:
                # Everybody looks once more instead: a change costs little, however many views show it.
                self.era += 1
                if self.on_many_marked is not None:
                    self.on_many_marked(list(places))

    def _mark_one(self, service: str, place: Place, entity: str, version: int) -> None:
        entry = place.entry
        if entry.deps[service][1][entity] < version:
            entry.tick = 0
            if self.on_marked is not None:
                self.on_marked(place)

    def proven(self, entry: Checked) -> bool:
        now = self._clock() * 1000
        if entry.tick == self.era:
            # One service's silence concerns those only that show something of it.
            return now < self.good_until or self.holds(_without_versions(entry.deps), now)
        if self.holds(entry.deps, now):
            entry.tick = self.era if entry.watched else -self.tick
            return True
        return False

    def current(self, entry: Checked) -> bool:
        """Whether nothing newer than it shows was announced."""
        if entry.tick == self.era or entry.tick == -self.tick:
            return True
        if self.outdated(entry.deps):
            return False
        entry.tick = -self.tick
        return True

    def holds(self, deps: Dependencies, now_ms: float) -> bool:
        services = self.services
        for service, (position, versions) in deps.items():
            heard = services.get(service)
            if heard is None or heard.since > position or now_ms >= heard.good_until:
                return False
            get = heard.latest.get
            for entity, version in versions.items():
                if get(entity, 0) > version:
                    return False
        return True

    def outdated(self, deps: Dependencies) -> bool:
        """Whether something newer than these versions was announced."""
        for service, (_, versions) in deps.items():
            if (heard := self.services.get(service)) is None:
                continue
            get = heard.latest.get
            if any(get(entity, 0) > version for entity, version in versions.items()):
                return True
        return False

    def unchanged(self, deps: Dependencies) -> bool:
        """Whether nothing newer was announced as far as the feed can tell, though its owner may have fallen silent."""
        reaches = all(s in self.services and self.services[s].since <= position for s, (position, _) in deps.items())
        return reaches and self.live and not self.outdated(deps)

    def as_of(self, services: Iterable[str]) -> int:
        """Milliseconds since 1970: everything these services committed before then has been heard."""
        least = _NOT_HEARD
        for service in services:
            as_of = self.services[service].as_of
            if as_of < least:
                least = as_of
        return 0 if least == _NOT_HEARD else least

    def read_as_of(self, read_at: int, services: Iterable[str]) -> int:
        """`read_at`, a moment on this process's clock, as these services' clocks told it, or a little earlier."""
        self.mind_the_clock()
        known = (self.services[service] for service in services if service in self.services)
        return read_at + min((min(0, heard.skew.most) for heard in known), default=0)

    def owners_clock(self) -> float:
        """Seconds since 1970 as the owners' clocks tell it: much the same in all processes that have heard of them,
        whatever their own clocks say."""
        self.mind_the_clock()
        ahead = max((heard.skew.most for heard in self.services.values() if heard.as_of), default=0)
        return self._clock() + ahead / 1000

    def verdict(self, deps: Dependencies) -> Verdict:
        """`holds`, with the first reason against it in words."""
        now = self.now_ms()
        for service, (position, versions) in deps.items():
            if reason := self._objection(service, position, versions, now):
                return Verdict(False, reason)
        return Verdict(True, "nothing newer than it shows has been announced")

    def _objection(self, service: str, position: int, versions: Mapping[str, int], now: int) -> str | None:
        heard = self.services.get(service)
        if heard is None or heard.since == _NOT_HEARD:
            return f"nothing has been heard of {service} yet"
        if heard.since > position:
            return f"what was heard of {service} begins after {heard.since}; composing began at {position}"
        if now >= heard.good_until:
            age = "of unknown age" if not heard.as_of else f"{(now + heard.ahead - heard.as_of) / 1000:.1f} s old"
            return f"the feed of {service} is {age}; {self._allowed_ms / 1000:g} s are allowed"
        for entity, version in versions.items():
            if (announced := heard.latest.get(entity, 0)) > version:
                return f"{entity} has been announced at {announced}; the entry shows {version}"
        return None

    def feed_positions(self) -> list[Position]:
        now = self.now_ms()
        return [
            Position(service, None, None, None, None, len(heard.latest))
            if heard.since == _NOT_HEARD
            else Position(
                service,
                heard.position,
                heard.since,
                heard.as_of or None,
                now + heard.ahead - heard.as_of if heard.as_of else None,
                len(heard.latest),
            )
            for service, heard in self.services.items()
        ]


def _without_versions(deps: Dependencies) -> Dependencies:
    return {service: (position, NOTHING) for service, (position, _) in deps.items()}


def _higher(seq: int, position: int) -> bool:
    return position >= 0 and seq // INCARNATION > position // INCARNATION
