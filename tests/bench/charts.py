"""The figures as SVG: the same figures give the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from tests.bench.figures import Figures, Row
from tests.bench.tables import ANSWERS, BESIDE

OURS, THEIRS, SECOND = "#2563a8", "#9aa5b1", "#d9822b"

_STYLE = {
    "svg.hashsalt": "cloudphone",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "figure.facecolor": "white",
}


def draw(folder: Path, figures: Figures) -> list[Path]:
    """Every chart whose figures were measured, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        drawn = [
            _answers(folder, figures),
            _peers(folder, figures),
            _views(folder, figures.growth.get("views", [])),
            _rates(folder, figures.growth.get("rates", [])),
            _dependencies(folder, figures.growth.get("dependencies", [])),
            _processes(folder, figures.growth.get("processes", [])),
        ]
    return [path for path in drawn if path is not None]


def _save(folder: Path, name: str, figure: Any) -> Path:
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)
    # One newline at the end and none in between that only an editor would see.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return path


def _bars(axes: Any, figures: Figures, names: Sequence[str], titles: Sequence[str], colours: Sequence[str]) -> None:
    rounds = [figures.rounds(f"{name}_rps") for name in names]
    medians = [figures.median(f"{name}_rps") for name in names]
    spread = [[m - min(r) for m, r in zip(medians, rounds, strict=True)],
              [max(r) - m for m, r in zip(medians, rounds, strict=True)]]  # fmt: skip
    axes.barh(range(len(names)), medians, xerr=spread, color=colours, ecolor="#52606d", capsize=3, height=0.62)
    axes.set_yticks(range(len(names)), titles)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("requests/s, median and spread of the rounds")


def _answers(folder: Path, figures: Figures) -> Path | None:
    names = [name for name in ANSWERS if f"{name}_rps" in figures]
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 0.9))
    colours = [OURS if name.startswith(("hit", "not")) else THEIRS for name in names]
    _bars(axes, figures, names, [ANSWERS[name].replace("*", "") for name in names], colours)
    axes.set_title("What is there already, beside its limits", loc="left")
    return _save(folder, "answers", figure)


def _peers(folder: Path, figures: Figures) -> Path | None:
    if "beside_peers_hit_l1_rps" not in figures:
        return None
    figure, several = plt.subplots(1, 2, figsize=(10, 3.2), sharey=False)
    for axes, suffix, title in zip(
        several, ("", "_unchecked"), ("token and limit checked", "nothing checked"), strict=True
    ):
        names = [name for name in BESIDE if f"{name}{suffix}_rps" in figures]
        colours = [OURS if name.startswith("beside") else THEIRS for name in names]
        titles = [BESIDE[name].replace("*", "") for name in names]
        _bars(axes, figures, [name + suffix for name in names], titles, colours)
        axes.set_xlabel("hits/s")
        axes.set_title(f"Hits, {title}", loc="left")
    figure.tight_layout()
    return _save(folder, "peers", figure)


def _line(axes: Any, rows: Sequence[Row], x: str, y: str, colour: str, label: str) -> None:
    heights = [float(row[y]) for row in rows]
    # From nothing to a little above the highest of all lines here.
    top = max([max(heights), *(max(line.get_ydata()) for line in axes.lines)])
    axes.plot([row[x] for row in rows], heights, marker="o", color=colour, label=label)
    axes.set_ylim(0, top * 1.08 or 1)


def _two(rows: Sequence[Row], x: str, label: str, *, log: bool) -> tuple[Any, Any, Any]:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
    for axes in (left, right):
        if log:
            axes.set_xscale("log")
        else:
            axes.set_xticks([row[x] for row in rows])
        axes.set_xlabel(label)
    return figure, left, right


def _views(folder: Path, rows: Sequence[Row]) -> Path | None:
    if not rows:
        return None
    figure, left, right = _two(rows, "views", "views in Redis", log=True)
    _line(left, rows, "views", "server_cpu_us", OURS, "BFF")
    _line(left, rows, "views", "redis_cpu_us", SECOND, "Redis")
    left.set_title("CPU µs of an L2 hit", loc="left")
    left.legend(frameon=False)
    right.set_yscale("log")
    right.plot(
        [row["views"] for row in rows],
        [float(row["views"]) * float(row["redis_bytes_per_view"]) / 2**20 for row in rows],
        marker="o", color=OURS,
    )  # fmt: skip
    right.set_title("Memory in Redis, MiB", loc="left")
    return _save(folder, "growth-views", figure)


def _rates(folder: Path, rows: Sequence[Row]) -> Path | None:
    if not rows:
        return None
    figure, left, right = _two(rows, "changes_per_s", "changes/s", log=True)
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=1)
    _line(left, rows, "changes_per_s", "p50_ms", SECOND, "p50")
    _line(left, rows, "changes_per_s", "p99_ms", OURS, "p99")
    left.set_title("Hits at 1,000/s, ms", loc="left")
    left.legend(frameon=False)
    _line(right, rows, "changes_per_s", "reader_cpu_percent", OURS, "")
    right.set_title("CPU of a reader nobody asks, %", loc="left")
    return _save(folder, "growth-rates", figure)


def _dependencies(folder: Path, rows: Sequence[Row]) -> Path | None:
    if not rows:
        return None
    figure, left, right = _two(rows, "dependencies", "entities shown by the view", log=True)
    _line(left, rows, "dependencies", "l1_us", THEIRS, "L1, feed unmoved")
    _line(left, rows, "dependencies", "l1_after_change_us", OURS, "L1, after any change")
    _line(left, rows, "dependencies", "l2_us", SECOND, "L2")
    left.set_yscale("log")
    left.set_ylim(1, None)
    left.set_title("CPU µs of a read", loc="left")
    left.legend(frameon=False)
    _line(right, rows, "dependencies", "entry_bytes", OURS, "")
    right.set_title("Entry in Redis, bytes", loc="left")
    return _save(folder, "growth-dependencies", figure)


def _processes(folder: Path, rows: Sequence[Row]) -> Path | None:
    if not rows:
        return None
    figure, left, right = _two(rows, "processes", "BFF processes", log=False)
    _line(left, rows, "processes", "rps", OURS, "")
    left.fill_between(
        [row["processes"] for row in rows], [row["rps_min"] for row in rows], [row["rps_max"] for row in rows],
        color=OURS, alpha=0.15, linewidth=0,
    )  # fmt: skip
    left.set_title(f"L1 hits/s on {rows[0]['cores']} cores", loc="left")
    _line(right, rows, "processes", "p99_ms", OURS, "p99")
    _line(right, rows, "processes", "p50_ms", SECOND, "p50")
    right.set_title("Latency at 64 connections, ms", loc="left")
    right.legend(frameon=False)
    return _save(folder, "growth-processes", figure)
