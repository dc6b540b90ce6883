"""What running time costs: a pure function of the runs, the terms they ran under and the rules' versions.

Times are whole seconds since 1970 (UTC): a run counts from the second it began in until the second it ended in, so
that runs one after the other share none. Amounts are exact, as `worth`: 3,600 times the amount in minor units. They
are rounded in one place only, half-even to the minor unit, where they become a line: `rounded`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import NamedTuple
from uuid import UUID

from .tariffs import DAY, HOUR, MONDAY, WEEK, Tariff, in_force

EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""A rate has 20 digits at most: sums of more parts than there will ever be are exact, or an error."""
_ROUNDING = Context(prec=200, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_ZERO, _HOUR = Decimal(0), Decimal(HOUR)
FOR_EVER = 2**62


class Run(NamedTuple):
    """One device's use by one user, `start` until before `end`."""

    run_id: UUID
    start: int
    end: int


class Term(NamedTuple):
    """What a subscription gives from `begins` until before `ends`. The terms of one period share what was used of its
    included seconds."""

    begins: int
    ends: int
    subscription_id: UUID
    period_start: int
    currency: str
    included: int
    rule_id: UUID | None


class Used(NamedTuple):
    """Of a period, before the runs that are rated: `seconds` run, `beyond` of them not included, and whether anything
    was `charged` by a fixed rule."""

    seconds: int = 0
    beyond: int = 0
    charged: bool = False


class Part(NamedTuple):
    """Of a run: within one UTC day, at one rate, under one term (None: no subscription)."""

    run_id: UUID
    start: int
    end: int
    term: Term | None
    tariff: Tariff | None
    rate: Decimal
    worth: Decimal
    included: bool
    says: str


class _Meter:
    """What was used of a period so far."""

    __slots__ = ("beyond", "charged", "seconds")

    def __init__(self, used: Used) -> None:
        self.seconds, self.beyond, self.charged = used


Tariffs = Mapping[UUID, Sequence[Tariff]]
Period = tuple[UUID, int]
"""A subscription and the start of its period."""


def rate(
    runs: Iterable[Run], terms: Iterable[Term], tariffs: Tariffs, used: Mapping[Period, Used] | None = None
) -> list[Part]:
    """The runs, which do not overlap, cut into parts without a gap, in time order.

    A period's included seconds are used first. `tariffs` are each rule's versions by `valid_from`; a run is rated by
    the one in force when it began, or when the period began if that was later. `used`: what came before in a period.
    """
    held = timeline(terms)
    begins = [stretch[0] for stretch in held]
    meters: dict[Period, _Meter] = {}
    parts: list[Part] = []
    with localcontext(EXACT):
        for run in sorted(runs, key=lambda one: (one.start, one.run_id)):
            start, place = run.start, bisect_right(begins, run.start) - 1
            while start < run.end:
                term, until = None, held[place + 1][0] if place + 1 < len(held) else FOR_EVER
                if place >= 0:
                    term = held[place][1]
                end = min(until, run.end)
                if term is None:
                    _by_day(parts, run, start, end, None, None, "No subscription")
                else:
                    period = (term.subscription_id, term.period_start)
                    meter = meters.get(period)
                    if meter is None:
                        meter = meters[period] = _Meter((used or {}).get(period) or Used())
                    _under(parts, run, start, end, term, tariffs, meter)
                start, place = end, place + 1
    return parts


def timeline(terms: Iterable[Term]) -> list[tuple[int, Term | None]]:
    """From when on each term counts, in time order; None: none does. Of several at once, the one that began last."""
    known = [term for term in terms if term.begins < term.ends]
    cuts = sorted({term.begins for term in known} | {term.ends for term in known})
    found: list[tuple[int, Term | None]] = []
    for cut in cuts:
        there = [term for term in known if term.begins <= cut < term.ends]
        last = max(there, key=lambda term: (term.begins, term.subscription_id, term.ends, term.included), default=None)
        if not found or found[-1][1] is not last:
            found.append((cut, last))
    return found


def total(worths: Iterable[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(worths, _ZERO)


def rounded(worth: Decimal) -> int:
    """The amount in minor units: half-even, of the exact sum. The only place where money is rounded."""
    # Of integers, since a quotient in decimals would have been rounded once before.
    numerator, denominator = worth.as_integer_ratio()
    whole, rest = divmod(numerator, denominator * HOUR)
    double = 2 * rest - denominator * HOUR
    return whole + (double > 0 or (double == 0 and whole % 2 == 1))


def shown(worth: Decimal) -> Decimal:
    """The amount in minor units to twelve places, for people to read: nothing is reckoned with it."""
    with localcontext(_ROUNDING):
        return (worth / _HOUR).quantize(Decimal("1E-12")).normalize() + _ZERO


def _under(parts: list[Part], run: Run, start: int, end: int, term: Term, tariffs: Tariffs, meter: _Meter) -> None:
    left = term.included - meter.seconds
    meter.seconds += end - start
    if left > 0:
        free_until = min(end, start + left)
        _by_day(parts, run, start, free_until, term, None, "Within the plan's hours", included=True)
        start = free_until
    if start == end:
        return
    tariff = term.rule_id and in_force(tariffs.get(term.rule_id, ()), max(run.start, term.period_start))
    if not tariff:
        _by_day(parts, run, start, end, term, None, "Beyond the plan's hours, free of charge")
    elif tariff.kind == "tiered":
        _by_tier(parts, run, start, end, term, tariff, meter.beyond)
    elif tariff.kind == "time-based":
        _by_clock(parts, run, start, end, term, tariff)
    elif tariff.kind == "fixed":
        _at_once(parts, run, start, end, term, tariff, "period", due=not meter.charged)
        meter.charged = True
    else:
        began_here = run.start >= term.period_start and not (parts and _was_charged(parts, run))
        _at_once(parts, run, start, end, term, tariff, "use", due=began_here)
    meter.beyond += end - start


def _was_charged(parts: Sequence[Part], run: Run) -> bool:
    for part in reversed(parts):
        if part.run_id != run.run_id:
            return False
        if part.worth:
            return True
    return False


def _by_day(
    parts: list[Part], run: Run, start: int, end: int, term: Term | None, tariff: Tariff | None, says: str,
    *, included: bool = False, rate: Decimal = _ZERO,
) -> None:  # fmt: skip
    while start < end:
        stop = min(end, start - start % DAY + DAY)
        worth = rate * (stop - start) if rate else _ZERO
        parts.append(Part(run.run_id, start, stop, term, tariff, rate, worth, included, says))
        start = stop


def _at_once(
    parts: list[Part], run: Run, start: int, end: int, term: Term, tariff: Tariff, each: str, *, due: bool
) -> None:
    """A fixed amount, on the first part; the time costs nothing."""
    first = len(parts)
    _by_day(parts, run, start, end, term, tariff, f"Charged once a {each}")
    if due:
        parts[first] = parts[first]._replace(rate=tariff.rate, worth=tariff.rate * HOUR, says=f"The {each}'s price")


def _by_tier(parts: list[Part], run: Run, start: int, end: int, term: Term, tariff: Tariff, beyond: int) -> None:
    for number, (until, price) in enumerate(tariff.tiers, 1):
        if until is not None and until <= beyond:
            continue
        stop = end if until is None else min(end, start + until - beyond)
        _by_day(parts, run, start, stop, term, tariff, f"Tier {number}", rate=price)
        beyond += stop - start
        start = stop
        if start == end:
            return


def _by_clock(parts: list[Part], run: Run, start: int, end: int, term: Term, tariff: Tariff) -> None:
    week = tariff.week
    monday = start - (start + MONDAY) % WEEK
    place = bisect_right(week, start - monday, key=lambda stretch: stretch.start) - 1
    while start < end:
        stretch = week[place]
        stop = min(end, monday + stretch.end)
        price = stretch.rate or _ZERO
        parts.append(Part(run.run_id, start, stop, term, tariff, price, price * (stop - start), False, stretch.says))
        start, place = stop, place + 1
        if place == len(week):
            place, monday = 0, monday + WEEK
