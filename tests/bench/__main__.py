"""`make bench`: what a hit, a miss, a list, a warm-up and a change cost, each beside its own limit in the same run.

The whole platform is started on servers of its own and ends with the run. Rounds alternate between what is compared;
medians are printed, and everything is written to build/bench.json, docs/performance.md and docs/performance/*.svg. A
scenario that fails is reported, the others go on,
and the command ends with 1; figures that fall short of what is expected are marked, and are no failure.
"""

import argparse
import asyncio
import os
import platform as machine
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvloop

from tests.bench import tables
from tests.bench.expected import verdicts
from tests.bench.figures import Figures
from tests.bench.stand import Effort, Stand
from tests.bench.suite import SCENARIOS

WHOLE, SOME = Path("build/bench.json"), Path("build/bench-quick.json")
PAGE, CHARTS = Path("docs/performance.md"), Path("docs/performance")
SCENARIO_SECONDS = 300
"""After so long a scenario is given up."""

TARGETS = ("constant", "constant_checked", "hit_l1", "hit_l1_unchecked", "hit_l2", "not_modified", "redis_py")
BESIDE_PEERS = tuple(f"{name}{kind}" for name in tables.BESIDE for kind in ("", "_unchecked"))


def options() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:10} {(scenario.__doc__ or '').strip()}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="make bench ARGS='…'", description=__doc__, epilog=f"scenarios:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="of every comparison (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="per target and round (1.5)")
    parser.add_argument("--quick", action="store_true", help=f"a smoke run of about a minute, into {SOME}")
    parser.add_argument(
        "--only", metavar="NAME,…", type=_names, default=list(SCENARIOS), help="some scenarios; the other figures stay"
    )
    parser.add_argument("--docs", action="store_true", help=f"measure nothing; write {PAGE} anew from {WHOLE}")
    return parser


def _names(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    for name in chosen:
        if name not in SCENARIOS:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(SCENARIOS)}")
    return chosen


async def measure(stand: Stand, names: Sequence[str], figures: Figures, keep: Callable[[], None]) -> None:
    """Adds what these scenarios find, keeping it after each; `failed` among the facts says which did not make it."""
    failed: dict[str, str] = {}
    figures.facts["failed"] = failed
    await stand.prepare()
    for name in names:
        print(f"{name}: {(SCENARIOS[name].__doc__ or '').strip()}", flush=True)
        began, found = time.monotonic(), Figures()
        try:
            async with asyncio.timeout(SCENARIO_SECONDS):
                await SCENARIOS[name](stand, found)
        except Exception as error:
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        figures.take(found)
        keep()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)


def surroundings() -> dict[str, Any]:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "system": machine.platform(),
        "python": machine.python_version(),
        "processor": model or machine.processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def report(figures: Figures) -> str:
    facts = figures.facts["machine"]
    lines = ["", f"{facts['system']}, Python {facts['python']}, {facts['cores']} cores"]
    for names, against in ((TARGETS, "constant"), (BESIDE_PEERS, BESIDE_PEERS[0])):
        if f"{against}_rps" in figures:
            lines += ["", figures.table(names, against)]
    lines += ["", *_singles(figures), ""]
    for verdict in verdicts(figures).values():
        found = "not measured" if verdict["found"] is None else f"{verdict['found']:,.4g}"
        mark = "ok   " if verdict["ok"] else "SHORT" if verdict["found"] is not None else "     "
        lines.append(f"{mark} {verdict['what']:46} {found:>12}   expected {verdict['expected']}")
    for name, reason in figures.facts["failed"].items():
        lines.append(f"FAILED {name}: {reason}")
    return "\n".join(lines)


def _singles(figures: Figures) -> list[str]:
    """A line for every figure that is in no table."""
    columns = ("_rps", "_cpu_us", "_p50_ms", "_p99_ms")
    tabled = {f"{target}{column}" for target in (*TARGETS, *BESIDE_PEERS) for column in columns}
    return [
        f"{name:36}{found['median']:>12,.2f}  ({found['min']:,.2f} – {found['max']:,.2f})  {found['unit']}"
        for name, found in figures.as_json().items()
        if name not in tabled and isinstance(found, dict) and "rounds" in found
    ]


def document(figures: Figures) -> None:
    """Tables and charts."""
    from tests.bench import charts  # it takes a second to import

    tables.write(PAGE, figures)
    charts.draw(CHARTS, figures)


def main() -> None:
    chosen = options().parse_args()
    if chosen.docs:
        document(Figures.load(WHOLE))
        return
    effort = Effort(2, 0.7, quick=True) if chosen.quick else Effort(chosen.rounds, chosen.seconds, quick=False)
    path = SOME if chosen.quick else WHOLE
    figures = Figures() if chosen.quick or chosen.only == list(SCENARIOS) else Figures.load(path)
    figures.facts |= {
        "machine": surroundings(),
        "command": " ".join(["make bench", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    began = time.monotonic()

    def keep() -> None:
        figures.facts |= {"seconds": round(time.monotonic() - began), "expected": verdicts(figures)}
        figures.save(path)

    stand = Stand(effort)
    try:
        print("starting the platform …", flush=True)
        stand.start()
        uvloop.run(measure(stand, chosen.only, figures, keep))
    finally:
        stand.remove()
    print(report(figures))
    if not chosen.quick:
        document(figures)
    print(f"\n{path} written after {time.monotonic() - began:.0f} s")
    if figures.facts["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
