"""What the benchmark found, round by round: kept as JSON, shown as a table."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, float | int | str]


class Figures:
    """`growth` holds one table per dimension in which costs grow; `facts` what is no figure (machine, command)."""

    def __init__(self) -> None:
        self._rounds: dict[str, tuple[list[float], str]] = {}
        self.growth: dict[str, list[Row]] = {}
        self.facts: dict[str, Any] = {}

    def add(self, name: str, value: float, unit: str) -> None:
        """One round's value of a figure."""
        self._rounds.setdefault(name, ([], unit))[0].append(value)

    def __contains__(self, name: object) -> bool:
        return name in self._rounds

    def rounds(self, name: str) -> list[float]:
        return self._rounds[name][0]

    def median(self, name: str) -> float:
        """Raises KeyError where nothing was measured."""
        return statistics.median(self._rounds[name][0])

    def unit(self, name: str) -> str:
        return self._rounds[name][1]

    def ratio(self, name: str, to: str) -> float:
        """The median of the ratios of rounds side by side: what a drifting machine leaves alone. Raises KeyError."""
        pairs = zip(self._rounds[name][0], self._rounds[to][0], strict=False)
        return statistics.median(mine / other for mine, other in pairs)

    def take(self, other: "Figures") -> None:
        """What another run found replaces what it found again; the rest stays."""
        self._rounds |= other._rounds
        self.growth |= other.growth
        self.facts |= other.facts

    def as_json(self) -> dict[str, Any]:
        found = {
            name: {
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "unit": unit,
                "rounds": [round(value, 3) for value in values],
            }
            for name, (values, unit) in self._rounds.items()
        }
        return {**self.facts, **found, "growth": self.growth}

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Figures":
        """As saved; empty where there is no such file."""
        figures = cls()
        if not path.exists():
            return figures
        kept: dict[str, Any] = json.loads(path.read_text())
        figures.growth = kept.pop("growth", {})
        for name, value in kept.items():
            if isinstance(value, Mapping) and "rounds" in value:
                figures._rounds[name] = (list(value["rounds"]), value["unit"])
            else:
                figures.facts[name] = value
        return figures

    def table(self, names: Sequence[str], against: str) -> str:
        """Requests/s with their spread, latencies, CPU, and the ratio to `against`, a line a name that was measured."""
        heads = f"{'':32}{'requests/s':>11}{'(min – max)':>19}{'p50 ms':>8}{'p99 ms':>8}{'p99/p50':>8}{'CPU µs':>8}"
        lines = [heads + f"{'of ' + against:>24}"]
        for name in names:
            if f"{name}_rps" not in self:
                continue
            values = self.rounds(f"{name}_rps")
            p50, p99 = self.median(f"{name}_p50_ms"), self.median(f"{name}_p99_ms")
            spread = f"({min(values):,.0f} – {max(values):,.0f})"
            lines.append(
                f"{name:32}{statistics.median(values):>11,.0f}{spread:>19}"
                f"{p50:>8.2f}{p99:>8.2f}{p99 / p50:>8.1f}{self.median(f'{name}_cpu_us'):>8.0f}"
                f"{self.ratio(f'{name}_rps', f'{against}_rps'):>24.2f}"
            )
        return "\n".join(lines)
