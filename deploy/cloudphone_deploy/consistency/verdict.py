"""The judgement on what was seen: how stale it was, and whether it claimed to be fresher than it was.

A check is one name in one answer. Its staleness is how long before the request was *sent* a newer name of the same
entity had been committed; 0 when there was none.
"""

import bisect
import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from .oracle import FOREVER, Ends, History, Oracle
from .probes import Seen

BOUNDS = (0.1, 1.0, 5.0, 60.0)
"""Seconds after the commit at which stale checks are counted."""
ALLOWED_SECONDS = 1.0
ALLOWED_SECONDS_WITH_FAULTS = 3.0
"""Served as fresh beyond this is a failure."""
SETTLING_SECONDS = 5.0
"""For so long after a fault, what is seen still counts as seen under it."""
KEPT_VIOLATIONS = 50
PER_DECADE = 10
LEAST_SECONDS = 0.001

Kind = Literal["false label", "stale", "own write missed", "went back", "another's"]


class Incident(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A fault that was made: when it began and ended, in seconds since 1970."""

    name: str
    target: str
    began: float
    ended: float


class Violation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What must not be, with the evidence. Times in seconds since 1970; `staleness` in seconds.

    `shown` was superseded by `newer`, committed at `committed` and readable for certain by `visible`; `as_of` is what
    the answer claimed, if it did. Names are told by their numbers.
    """

    kind: Kind
    entity: str
    shown: int
    newer: int
    committed: float
    visible: float
    sent: float
    received: float
    as_of: float | None
    staleness: float
    process: str
    path: str
    head: str
    fault: str | None


class Tally(msgspec.Struct, rename="camel"):
    """Checks of one class. `stale` in the order of BOUNDS; `spread` counts stale checks by the tenths of a decade of
    their staleness, from a millisecond on."""

    checks: int = 0
    stale: list[int] = msgspec.field(default_factory=lambda: [0] * len(BOUNDS))
    spread: dict[int, int] = {}
    worst: float = 0.0

    def add(self, staleness: float) -> None:
        self.checks += 1
        if staleness <= 0:
            return
        self.worst = max(self.worst, staleness)
        for place in range(bisect.bisect_right(BOUNDS, staleness)):
            self.stale[place] += 1
        bucket = bucket_of(staleness)
        self.spread[bucket] = self.spread.get(bucket, 0) + 1

    def __add__(self, other: "Tally") -> "Tally":
        buckets = sorted({*self.spread, *other.spread})
        return Tally(
            checks=self.checks + other.checks,
            stale=[a + b for a, b in zip(self.stale, other.stale, strict=True)],
            spread={bucket: self.spread.get(bucket, 0) + other.spread.get(bucket, 0) for bucket in buckets},
            worst=max(self.worst, other.worst),
        )

    def percentile(self, share: float) -> float:
        """Seconds; of all checks, the fresh ones being 0. The upper end of its bucket."""
        left = (1 - share) * self.checks
        for bucket in sorted(self.spread, reverse=True):
            left -= self.spread[bucket]
            if left < 0:
                return min(self.worst, seconds_of(bucket + 1))
        return 0.0


def bucket_of(staleness: float) -> int:
    return max(0, math.floor(math.log10(staleness / LEAST_SECONDS) * PER_DECADE))


def seconds_of(bucket: int) -> float:
    return LEAST_SECONDS * 10 ** (bucket / PER_DECADE)


class Nines(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """−log10(stale / checks), and the most that so many checks can support: k nines need 3·10^k of them.

    `nines` is never more than `supported`; None without checks.
    """

    stale: int
    checks: int
    nines: float | None
    supported: float | None


def nines(stale: int, checks: int) -> Nines:
    if not checks:
        return Nines(stale=stale, checks=checks, nines=None, supported=None)
    supported = max(0.0, math.log10(checks / 3))
    seen = math.inf if stale == 0 else -math.log10(stale / checks)
    # Downwards: nobody has a nine that is not whole yet.
    return Nines(stale=stale, checks=checks, nines=_down(max(0.0, min(seen, supported))), supported=_down(supported))


def _down(value: float) -> float:
    return math.floor(value * 10 + 1e-9) / 10


class Verdict:
    """Collects what was seen and judges it once the oracle knows all that was committed before its answer."""

    def __init__(self, oracle: Oracle, *, allowed: float) -> None:
        self.tallies: dict[tuple[bool, bool], Tally] = {
            (fault, labelled): Tally() for fault in (False, True) for labelled in (False, True)
        }
        """By whether a fault was near, and whether the answer said of itself that it may be old."""
        self.allowed = allowed
        self.false_labels = 0
        self.stale_as_fresh = 0
        self.missed_writes = 0
        self.went_back = 0
        self.foreign = 0
        self.within_commit = 0
        self.unknown = 0
        self.session_reads = 0
        self.violations: list[Violation] = []
        self.stale_by_second: dict[int, int] = {}
        self.incidents: Sequence[Incident] = ()
        """Kept up to date by whoever knows of faults."""
        self._oracle = oracle
        self._waiting: deque[Seen] = deque()

    def take(self, seen: Seen) -> None:
        self._waiting.append(seen)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def judge(self, horizon: float) -> None:
        """All that was received before `horizon`, up to which the oracle knows everything."""
        waiting = self._waiting
        # In the order in which they were received, as far as the event loop keeps it.
        while waiting and waiting[0].received < horizon:
            self._judge(waiting.popleft())

    def _judge(self, seen: Seen) -> None:
        ends = seen.showing.ends(self._oracle.generation)
        if seen.floor is not None:
            self._judge_session(seen, seen.floor)
        if seen.foreign:
            self._judge_foreign(seen)
        tally = self.tallies[self.fault_at(seen.sent) is not None, seen.labelled]
        if ends is not None and seen.sent <= ends.committed and seen.as_of <= ends.committed:
            tally.checks += len(seen.showing.pairs)
            return
        for history, number in seen.showing.pairs:
            each = history.ends(number)
            if each is None:
                self.unknown += 1
            else:
                self._judge_one(seen, tally, history, number, each)

    def _judge_one(self, seen: Seen, tally: Tally, history: History, number: int, ends: Ends) -> None:
        staleness = max(0.0, seen.sent - ends.committed)
        tally.add(staleness)
        if staleness:
            second = int(seen.sent)
            self.stale_by_second[second] = self.stale_by_second.get(second, 0) + 1
        # What is claimed is told in whole milliseconds.
        if seen.as_of > ends.visible + 0.001:
            self.false_labels += 1
            self._note("false label", seen, history, number, ends, staleness)
        elif seen.as_of > ends.committed + 0.001:
            self.within_commit += 1
        if staleness > self.allowed and not seen.labelled:
            self.stale_as_fresh += 1
            self._note("stale", seen, history, number, ends, staleness)

    def _judge_session(self, seen: Seen, floor: Mapping[str, int]) -> None:
        self.session_reads += 1
        if seen.labelled:
            return
        for history, number in seen.showing.pairs:
            least = floor.get(history.code)
            if least is None or history.restored_at > seen.sent - 60:
                continue
            shown, needed = history.place(number), history.place(least)
            if shown is not None and needed is not None and shown < needed:
                kind: Kind = "own write missed" if len(floor) == 1 else "went back"
                self.missed_writes += kind == "own write missed"
                self.went_back += kind == "went back"
                ends = history.ends(number) or FOREVER
                self._note(kind, seen, history, number, ends, max(0.0, seen.sent - ends.committed))

    def _judge_foreign(self, seen: Seen) -> None:
        for history, number in seen.showing.pairs:
            if history.code in seen.foreign:
                self.foreign += 1
                self._note("another's", seen, history, number, history.ends(number) or FOREVER, 0.0)

    def _note(self, kind: Kind, seen: Seen, history: History, number: int, ends: Ends, staleness: float) -> None:
        if len(self.violations) >= KEPT_VIOLATIONS:
            return
        place = history.place(number)
        newer = history.numbers[place + 1] if place is not None and place + 1 < len(history.numbers) else number
        self.violations.append(
            Violation(
                kind=kind,
                entity=history.code,
                shown=number,
                newer=newer,
                committed=ends.committed,
                visible=ends.visible,
                sent=seen.sent,
                received=seen.received,
                as_of=seen.as_of or None,
                staleness=staleness,
                process=seen.process,
                path=seen.path,
                head=seen.head.decode(errors="replace"),
                fault=self.fault_at(seen.sent),
            )
        )

    def fault_at(self, moment: float) -> str | None:
        """The fault that was there then, or had just gone."""
        for incident in reversed(self.incidents):
            if incident.began <= moment <= incident.ended + SETTLING_SECONDS:
                return incident.name
        return None


def utc(moment: float) -> str:
    """`12:00:00.000`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S.%f")[:-3]
