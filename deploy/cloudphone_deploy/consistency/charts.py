"""The report's charts, as inline SVG whose colours are the page's CSS variables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from .result import Second
from .verdict import BOUNDS, LEAST_SECONDS, PER_DECADE, Incident, seconds_of

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 26, 26, 34
_INNER_WIDTH, _FLOOR = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM
_LETTER = 6.5


def timeline(seconds: Sequence[Second], incidents: Sequence[Incident], began: float) -> str:
    """Answers per second, by where they came from, stacked; faults as bands behind, stale checks as dots on top."""
    whole = seconds[1:-1] or seconds
    if not whole:
        return ""
    first, last = whole[0].at, max(whole[-1].at, whole[0].at + 1)
    most = max(1, *(each.answers for each in whole))
    scale = _Scale(first, last, nice(most))
    parts = [_bands(incidents, scale), _grid(scale)]
    bottom = [0] * len(whole)
    for name, values in _layers(whole).items():
        top = [low + value for low, value in zip(bottom, values, strict=True)]
        parts.append(_area(whole, bottom, top, scale, name))
        bottom = top
    parts += [
        f'<circle class="stale" cx="{scale.x(each.at):.1f}" cy="{TOP - 8}" r="3">'
        f"<title>{each.stale:,} stale checks at {each.at - int(began)} s</title></circle>"
        for each in whole
        if each.stale
    ]
    parts += [
        f'<text class="tick" x="{scale.x(at):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{at - int(began)} s</text>'
        for at in _ticks(first, last, int(began))
    ]
    return _svg(parts, "Answers per second over the run, by where they came from, with the faults")


def distribution(spreads: Mapping[str, Mapping[int, int]]) -> str:
    """How many stale checks there were, by how stale they were; both axes are logarithmic. `spreads` by CSS class."""
    decades = 5
    most = max([1, *(count for spread in spreads.values() for count in spread.values())])
    top = max(1, math.ceil(math.log10(most + 1)))

    def x(seconds: float) -> float:
        return LEFT + _INNER_WIDTH * min(1.0, max(0.0, math.log10(seconds / LEAST_SECONDS) / decades))

    def y(count: float) -> float:
        # A single check is to be seen: the axis begins below it.
        return _FLOOR - (_FLOOR - TOP) * (math.log10(count) + 0.3) / (top + 0.3)

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(10**power):.1f}" y2="{y(10**power):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>'
        for power in range(top + 1)
    ]
    width = _INNER_WIDTH / decades / PER_DECADE
    for place, (name, spread) in enumerate(spreads.items()):
        part = (width - 2) / len(spreads)
        parts += [
            f'<rect class="{name}" x="{x(seconds_of(bucket)) + 1 + place * part:.1f}" y="{y(count):.1f}" '
            f'width="{part:.1f}" height="{max(0.0, _FLOOR - y(count)):.1f}">'
            f"<title>{count:,} checks, {spelt(seconds_of(bucket))} to {spelt(seconds_of(bucket + 1))}</title></rect>"
            for bucket, count in sorted(spread.items())
            if bucket < decades * PER_DECADE
        ]
    parts += [
        f'<line class="bound" x1="{x(bound):.1f}" x2="{x(bound):.1f}" y1="{TOP - 4}" y2="{_FLOOR}"/>'
        f'<text class="tick" x="{x(bound) + 4:.1f}" y="{TOP + 6}">{spelt(bound)}</text>'
        for bound in BOUNDS
    ]
    parts += [
        f'<text class="tick" x="{x(10**power):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{spelt(10**power)}</text>'
        for power in range(-3, 3)
    ]
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_FLOOR}" y2="{_FLOOR}"/>')
    return _svg(parts, "Stale checks by how long before the request the newer change had been committed")


def spelt(seconds: float) -> str:
    """`1 ms`, `0.1 s`, `60 s`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"


def nice(most: float) -> int:
    """The next round figure, for the end of an axis."""
    power = 10 ** math.floor(math.log10(max(1.0, most)))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= most)


class _Scale:
    def __init__(self, first: float, last: float, most: float) -> None:
        self._first, self._span, self.most = first, last - first, most

    def x(self, at: float) -> float:
        return LEFT + _INNER_WIDTH * min(1.0, max(0.0, (at - self._first) / self._span))

    def y(self, value: float) -> float:
        return _FLOOR - (_FLOOR - TOP) * value / self.most


def _layers(seconds: Sequence[Second]) -> dict[str, list[int]]:
    return {
        "hits": [each.hits for each in seconds],
        "misses": [each.misses for each in seconds],
        "degraded": [each.degraded for each in seconds],
        "others": [max(0, each.answers - each.hits - each.misses - each.degraded) for each in seconds],
    }


def _area(seconds: Sequence[Second], low: Sequence[int], high: Sequence[int], scale: _Scale, name: str) -> str:
    up = [f"{scale.x(each.at):.1f},{scale.y(value):.1f}" for each, value in zip(seconds, high, strict=True)]
    down = [f"{scale.x(each.at):.1f},{scale.y(value):.1f}" for each, value in zip(seconds, low, strict=True)]
    return f'<polygon class="{name}" points="{" ".join([*up, *reversed(down)])}"/>'


def _bands(incidents: Iterable[Incident], scale: _Scale) -> str:
    """With their names where these fit."""
    bands: list[str] = []
    for each in incidents:
        x, width = scale.x(each.began), max(1.0, scale.x(each.ended) - scale.x(each.began))
        told = f"<title>{escape(each.name)} {escape(each.target)}: {each.ended - each.began:.1f} s</title>"
        bands.append(
            f'<rect class="fault" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{_FLOOR - TOP}">{told}</rect>'
        )
        if width > _LETTER * len(each.name):
            bands.append(f'<text class="tick" x="{x + 3:.1f}" y="{TOP + 12}">{escape(each.name)}</text>')
    return "".join(bands)


def _grid(scale: _Scale) -> str:
    values = [scale.most * step / 4 for step in range(5)]
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{scale.y(value):.1f}" y2="{scale.y(value):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{scale.y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
        for value in values
    )


def _ticks(first: int, last: int, began: int) -> list[int]:
    step = next(step for step in (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10**9) if (last - first) / step <= 12)
    return [at for at in range(first, last + 1) if (at - began) % step == 0]


def _svg(parts: Iterable[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
