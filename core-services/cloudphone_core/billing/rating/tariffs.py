"""A rule's version, checked and made ready to rate by. Times are whole seconds since 1970, UTC."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind, Tier, TimeWindow
from cloudphone_shared.errors import FieldError, Invalid

HOUR, DAY, WEEK = 3600, 86_400, 604_800
MOST_TIERS, MOST_WINDOWS = 50, 50
MOST_RATE, MOST_PLACES = Decimal(10**9), 10
MONDAY = 3 * DAY
"""1970 began on a Thursday: three days after a Monday."""


class Stretch(NamedTuple):
    """Seconds of the week, from `start` until before `end`, within one day and at one rate; None: none named."""

    start: int
    end: int
    rate: Decimal | None
    says: str


class Tariff(NamedTuple):
    """A rule's version. `tiers` end at so many seconds of running time; the last one never does (None)."""

    rule_id: UUID
    revision: int
    valid_from: int
    kind: RuleKind
    rate: Decimal
    tiers: tuple[tuple[int | None, Decimal], ...]
    week: tuple[Stretch, ...]


def tariff(rule_id: UUID, revision: int, valid_from: int, kind: RuleKind, definition: RuleDefinition) -> Tariff:
    """The definition was checked when it was saved."""
    rate = definition.rate or Decimal(0)
    return Tariff(
        rule_id=rule_id,
        revision=revision,
        valid_from=valid_from,
        kind=kind,
        rate=rate,
        tiers=tuple((tier.up_to_hours and tier.up_to_hours * HOUR, tier.rate) for tier in definition.tiers),
        week=_week(definition.windows, rate) if kind == "time-based" else (),
    )


def in_force(tariffs: Sequence[Tariff], moment: int) -> Tariff | None:
    """Of one rule's versions, by `valid_from`; None before the first."""
    place = bisect_right(tariffs, moment, key=lambda one: one.valid_from)
    return tariffs[place - 1] if place else None


def check_definition(kind: RuleKind, definition: RuleDefinition) -> None:
    """Raises Invalid, with every fault by its place."""
    if faults := list(_faults(kind, definition)):
        raise Invalid(f"Not a {kind} rule: {faults[0].field} {faults[0].message}", errors=faults)


def _faults(kind: RuleKind, rule: RuleDefinition) -> Iterable[FieldError]:
    wanted = {"fixed": {"rate"}, "per-use": {"rate"}, "tiered": {"tiers"}, "time-based": {"rate", "windows"}}[kind]
    given = {"rate": rule.rate is not None, "tiers": bool(rule.tiers), "windows": bool(rule.windows)}
    for name, there in given.items():
        if there and name not in wanted:
            yield _fault(name, f"has no place in a {kind} rule")
        if not there and name in wanted:
            yield _fault(name, f"is what a {kind} rule consists of")
    yield from _rate_faults("rate", rule.rate)
    yield from _tier_faults(rule.tiers)
    yield from _window_faults(rule.windows)


def _rate_faults(place: str, rate: Decimal | None) -> Iterable[FieldError]:
    if rate is None:
        return
    if not rate.is_finite() or not 0 <= rate <= MOST_RATE:
        yield _fault(place, f"must be from 0 to {MOST_RATE}")
    elif rate != round(rate, MOST_PLACES):
        yield _fault(place, f"must have at most {MOST_PLACES} decimal places")


def _tier_faults(tiers: Sequence[Tier]) -> Iterable[FieldError]:
    if len(tiers) > MOST_TIERS:
        yield _fault("tiers", f"must be at most {MOST_TIERS}")
    for number, tier in enumerate(tiers):
        yield from _rate_faults(f"tiers[{number}].rate", tier.rate)
        if (tier.up_to_hours is None) != (number == len(tiers) - 1):
            yield _fault(f"tiers[{number}].upToHours", "must be null for the last tier, and for that alone")
    for number, (lower, upper) in enumerate(pairwise(tiers), 1):
        if lower.up_to_hours is not None and upper.up_to_hours is not None and upper.up_to_hours <= lower.up_to_hours:
            yield _fault(f"tiers[{number}].upToHours", "must be more than the tier's before")


def _window_faults(windows: Sequence[TimeWindow]) -> Iterable[FieldError]:
    if len(windows) > MOST_WINDOWS:
        yield _fault("windows", f"must be at most {MOST_WINDOWS}")
    taken: list[tuple[int, int]] = []
    for number, window in enumerate(windows):
        yield from _rate_faults(f"windows[{number}].rate", window.rate)
        if len(set(window.days)) != len(window.days):
            yield _fault(f"windows[{number}].days", "must name each day once")
        spans = list(_spans(window))
        if any(start < upto and begin < end for begin, end in spans for start, upto in taken):
            yield _fault(f"windows[{number}]", "must not overlap a window before it")
        taken += spans


def _fault(place: str, message: str) -> FieldError:
    return FieldError(field=f"definition.{place}", message=message)


def _clock(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * HOUR + int(minutes) * 60


def _spans(window: TimeWindow) -> Iterable[tuple[int, int]]:
    """Its seconds of the week; what goes on over Sunday's midnight goes on in Monday."""
    start, end = _clock(window.start), _clock(window.end)
    length = end - start if end > start else end - start + DAY
    for day in sorted(set(window.days)) or range(1, 8):
        begin = (day - 1) * DAY + start
        yield begin, min(begin + length, WEEK)
        if begin + length > WEEK:
            yield 0, begin + length - WEEK


def _week(windows: Sequence[TimeWindow], rate: Decimal) -> tuple[Stretch, ...]:
    """The whole week without a gap, cut at midnights and where a window begins or ends."""
    spans = [(begin, end, window) for window in windows for begin, end in _spans(window)]
    cuts = sorted({day * DAY for day in range(8)} | {cut for begin, end, _ in spans for cut in (begin, end)})
    return tuple(_stretch(start, end, spans, rate) for start, end in pairwise(cuts))


def _stretch(start: int, end: int, spans: Sequence[tuple[int, int, TimeWindow]], rate: Decimal) -> Stretch:
    for begin, upto, window in spans:
        if begin <= start < upto:
            return Stretch(start, end, window.rate, f"{window.start}–{window.end} UTC")
    return Stretch(start, end, rate, "Outside the time windows")
