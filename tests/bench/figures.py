"""What the benchmark found: kept as JSON, shown as a table."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path


class Figures:
    def __init__(self) -> None:
        self._rounds: dict[str, tuple[list[float], str]] = {}

    def add(self, name: str, value: float, unit: str) -> None:
        """One round's value of a figure."""
        self._rounds.setdefault(name, ([], unit))[0].append(value)

    def median(self, name: str) -> float:
        return statistics.median(self._rounds[name][0])

    def ratio(self, name: str, to: str) -> float:
        """The median of the ratios of rounds side by side: what a drifting machine leaves alone."""
        pairs = zip(self._rounds[name][0], self._rounds[to][0], strict=True)
        return statistics.median(mine / other for mine, other in pairs)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {
            name: {
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "unit": unit,
            }
            for name, (values, unit) in self._rounds.items()
        }
        path.write_text(json.dumps(found, indent=2) + "\n")

    def table(self, names: Sequence[str], against: str) -> str:
        """Requests/s with their spread, latencies, and the ratio to `against`, a line a name."""
        lines = [
            f"{'':24}{'requests/s':>12}{'(min – max)':>20}{'p50 ms':>9}{'p99 ms':>9}{'p99/p50':>9}{'of ' + against:>22}"
        ]
        for name in names:
            values, _ = self._rounds[f"{name}_rps"]
            p50, p99 = self.median(f"{name}_p50_ms"), self.median(f"{name}_p99_ms")
            cpu = self.median(f"{name}_cpu_us")
            spread = f"({min(values):,.0f} – {max(values):,.0f})"
            lines.append(
                f"{name:24}{statistics.median(values):>12,.0f}{spread:>20}"
                f"{p50:>9.2f}{p99:>9.2f}{p99 / p50:>9.1f}{cpu:>8.0f}"
                f"{self.ratio(f'{name}_rps', f'{against}_rps'):>22.2f}"
            )
        return "\n".join(lines)
