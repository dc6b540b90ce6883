"""Billing periods and days, in UTC. Intervals are half open: they hold their start, not their end."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

DAY = timedelta(days=1)


class Interval(NamedTuple):
    start: datetime
    end: datetime


def month_of(moment: datetime) -> Interval:
    """The calendar month that `moment` lies in."""
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (start + timedelta(days=32)).replace(day=1)
    return Interval(start, following)


def last_days(moment: datetime, days: int) -> Interval:
    """`days` whole days, the last one being that of `moment`."""
    today = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Interval(today - (days - 1) * DAY, today + DAY)


def seconds_by_day(runs: Iterable[Interval], window: Interval) -> dict[date, int]:
    """Seconds of all `runs` on each day of `window`, whole days both; a day's fraction of a second is dropped."""
    days = [window.start + number * DAY for number in range((window.end - window.start) // DAY)]
    spent = dict.fromkeys((day.date() for day in days), timedelta())
    for run in runs:
        for part in split_at_midnight(Interval(max(run.start, window.start), min(run.end, window.end))):
            spent[part.start.date()] += part.end - part.start
    return {day: time // timedelta(seconds=1) for day, time in spent.items()}


def split_at_midnight(run: Interval) -> Iterable[Interval]:
    """The parts of `run` (UTC), each within one day; none for an empty one."""
    start = run.start
    while start < run.end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        yield Interval(start, min(midnight, run.end))
        start = midnight
