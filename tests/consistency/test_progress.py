"""What a run shows: figures in place on a terminal, lines in a log, a table at the end."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from cloudphone_deploy.consistency.oracle import Oracle
from cloudphone_deploy.consistency.probes import Bff, Probes
from cloudphone_deploy.consistency.progress import Lines, Screen, summarise
from cloudphone_deploy.consistency.run import Run
from cloudphone_deploy.consistency.scene import Account, Scene
from cloudphone_deploy.consistency.verdict import Incident, Verdict
from cloudphone_deploy.consistency.writers import Numbers
from tests.consistency.test_report import found


class Faults:
    """One fault is over, another goes on."""

    def __init__(self) -> None:
        self.log: Sequence[Any] = [Incident(name="kill-bff", target="bff-user", began=1.0, ended=2.0)]
        self.current: str | None = "flush-redis"

    async def run(self, until: float) -> None: ...


@pytest.fixture
def run() -> Run:
    oracle = Oracle(dict.fromkeys(("user", "device", "billing"), ""))
    run = Run(60.0, oracle, Verdict(oracle, allowed=3.0))
    scene = Scene(tenant="1", administrator=Account("a", "b"), customers=[], things=[])
    bffs = [Bff("bff-admin", "http://127.0.0.1:1", True)]
    run.probes = Probes(scene, oracle, Numbers(), bffs, run.take, readers=4, pace=10, seed=1)
    run.probes.counts.answers = 1234
    run.probes.counts.sources["hit in Redis"] = 56
    run.verdict.tallies[True, False].add(2.0)
    run.nemesis = Faults()
    return run


def test_a_terminal_shows_what_goes_on(run: Run) -> None:
    shown = StringIO()
    with Screen(Console(file=shown, force_terminal=True, width=120)) as screen:
        screen(run)
        screen._live.refresh()
    for word in ("1,234", "56 in Redis", "1 beyond 1 s", "flush-redis"):
        assert word in shown.getvalue()


def test_a_log_has_a_line_now_and_then_and_one_for_every_fault(run: Run) -> None:
    shown = StringIO()
    assert isinstance(run.nemesis, Faults)
    with Lines(Console(file=shown, width=80)) as lines:
        lines(run)
        lines(run)
        run.nemesis.current = None
        lines(run)
    assert [line.count("flush-redis") for line in shown.getvalue().splitlines()] == [1, 0]


def test_faults_that_go_on_count_as_incidents(run: Run) -> None:
    run.note_faults()
    assert [incident.name for incident in run.verdict.incidents] == ["kill-bff", "flush-redis"]


@pytest.mark.parametrize(
    ("violations", "expected"), [(0, "Consistent: 0 false labels"), (3, "Not consistent: 3 checks")]
)
def test_the_end_is_a_table_and_a_sentence(violations: int, expected: str) -> None:
    shown = StringIO()
    summarise(found(violations=violations, stale=3), Console(file=shown, width=160))
    assert expected in shown.getvalue()
    assert "30,003" in shown.getvalue() and "faults made: 1; seed 7" in shown.getvalue()


def test_the_table_fits_a_narrow_terminal() -> None:
    shown = StringIO()
    summarise(found(stale=3), Console(file=shown, width=80))
    [heading] = [line for line in shown.getvalue().splitlines() if "> 0.1 s" in line]
    assert all(f"> {bound} s" in heading for bound in (0.1, 1, 5, 60))
    [row] = [line for line in shown.getvalue().splitlines() if line.startswith("passed for fresh, without faults")]
    assert row.count("≥ 4.0") == 4


@pytest.mark.parametrize(
    ("seen", "expected", "absent"),
    [
        ({"cut_short": "interrupted after 12 of 60 s"}, "Ended early, and says only what was seen until then", "Not"),
        ({"checks": 0}, "Nothing can be said: not one name was checked.", "Consistent"),
    ],
)
def test_the_end_says_when_it_was_early_or_saw_nothing(seen: dict[str, Any], expected: str, absent: str) -> None:
    shown = StringIO()
    summarise(msgspec.structs.replace(found(), **seen), Console(file=shown, width=160))
    assert expected in shown.getvalue() and absent not in shown.getvalue()
