"""What a run shows while it lasts, and at its end."""

import time
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .result import Result
from .run import Run
from .verdict import BOUNDS, Tally

LINE_SECONDS = 10.0


class Progress(Protocol):
    def __call__(self, run: Run) -> None: ...


class Screen:
    """For a terminal: figures that change in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._speed = _Speed()

    def __enter__(self) -> "Screen":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, run: Run) -> None:
        figures = _figures(run, self._speed)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in figures.items():
            table.add_row(f"[dim]{name}[/]", value)
        self._live.update(table)


class Lines:
    """For a log: a line now and then, and one for every fault."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._speed = _Speed()
        self._next = 0.0
        self._fault: str | None = None

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, run: Run) -> None:
        fault = run.nemesis.current if run.nemesis else None
        if fault == self._fault and time.monotonic() < self._next:
            return
        self._fault, self._next = fault, time.monotonic() + LINE_SECONDS
        text = " · ".join(f"{name} {value}" for name, value in _figures(run, self._speed).items())
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Speed:
    """Answers per second since the last look."""

    def __init__(self) -> None:
        self._at, self._answers = time.monotonic(), 0

    def of(self, answers: int) -> float:
        now = time.monotonic()
        speed = (answers - self._answers) / max(0.01, now - self._at)
        self._at, self._answers = now, answers
        return speed


def _figures(run: Run, speed: _Speed) -> dict[str, str]:
    assert run.probes is not None
    counts, verdict = run.probes.counts, run.verdict
    total = sum(verdict.tallies.values(), Tally())
    figures = {
        "elapsed": f"{run.elapsed:.0f} of {run.seconds:.0f} s",
        "answers": f"{counts.answers:,} ({speed.of(counts.answers):,.0f}/s)",
        "checks": f"{total.checks:,}",
        "hits": f"{counts.sources['hit in the process']:,} in process, {counts.sources['hit in Redis']:,} in Redis",
        "composed": f"{counts.sources['composed']:,}",
        "writes": f"{run.oracle.writes:,}",
        "stale": ", ".join(f"{count:,} beyond {bound:g} s" for bound, count in zip(BOUNDS, total.stale, strict=True)),
        "false labels": f"{verdict.false_labels:,}",
    }
    if run.nemesis is not None:
        figures["fault"] = run.nemesis.current or "none now"
        figures["faults made"] = f"{len(run.nemesis.log)}"
    return figures


def summarise(result: Result, console: Console) -> None:
    """What was found, in a table and a sentence."""
    console.print(
        f"{result.checks:,} checks in {result.answers:,} answers while {result.writes:,} changes were made"
        + (f", faults made: {len(result.incidents)}" if result.incidents else "")
        + f"; seed {result.seed}.",
        soft_wrap=True,
    )
    console.print("Checks, those stale by more than so long after the commit, and nines:")
    table = Table("", "checks", *(f"> {bound:g} s" for bound in BOUNDS), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.no_wrap = True
    for each in result.classes:
        if each.tally.checks:
            name = "labelled old" if each.labelled_old else "passed for fresh"
            when = "with faults" if each.faults else "without faults"
            cells = [f"{one.stale:,} [dim]{_number(one.nines, one.supported)}[/]" for one in each.nines]
            table.add_row(f"{name}, {when}", f"{each.tally.checks:,}", *cells)
    console.print(table)
    if result.unjudged or result.unknown:
        console.print(f"[dim]{result.unjudged:,} answers not judged, {result.unknown:,} names of unknown commits.[/]")
    if result.cut_short:
        console.print("[yellow]Ended early[/], and says only what was seen until then: ", end="")
        console.print(f"{result.cut_short}.", markup=False)
    if not result.checks:
        console.print("[red]Nothing can be said[/]: not one name was checked.")
    elif result.consistent:
        console.print(f"[green]Consistent[/]: 0 false labels, 0 passed for fresh beyond {result.allowed:g} s.")
    for failure in result.failures:
        console.print(f"[red]Not consistent[/]: {failure}")


def nines_text(nines: float | None, supported: float | None) -> str:
    """`≥` where nothing stale was seen, so that only the number of checks bounds it."""
    return "–" if nines is None else f"{_number(nines, supported)} nines"


def _number(nines: float | None, supported: float | None) -> str:
    if nines is None:
        return "–"
    return f"{'≥ ' if nines == supported else ''}{nines:.1f}"
