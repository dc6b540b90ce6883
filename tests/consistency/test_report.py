"""The report stands alone, says what was found, and can be read again."""

import re
from pathlib import Path

import msgspec
import pytest

from cloudphone_deploy.consistency.charts import distribution, nice, spelt
from cloudphone_deploy.consistency.report import html, read_report, write_report
from cloudphone_deploy.consistency.result import Result, Second, classes_of
from cloudphone_deploy.consistency.verdict import Incident, Tally, Violation
from cloudphone_deploy.errors import CommandError

BEGAN = 1_800_000_000.0


def found(*, violations: int = 0, stale: int = 0) -> Result:
    tally = Tally(checks=30_000)
    for place in range(stale):
        tally.add(0.05 * (place + 1))
    return Result(
        began=BEGAN,
        seconds=60,
        seed=7,
        rate=50,
        readers=8,
        processes=["bff-admin", "bff-user"],
        faults=["kill-bff"],
        allowed=3.0,
        exact=True,
        writes=3000,
        writes_unanswered=2,
        answers=12_345,
        checks=30_000 + stale,
        not_modified=1200,
        lost=3,
        sources={"hit in the process": 9000, "composed": 3000},
        statuses={503: 5},
        session_reads=400,
        unknown=0,
        unjudged=0,
        within_commit=1,
        false_labels=violations,
        stale_as_fresh=0,
        missed_writes=0,
        went_back=0,
        classes=classes_of({(False, False): tally, (True, True): Tally(checks=10)}),
        incidents=[Incident(name="kill-bff", target="bff-user-2", began=BEGAN + 10, ended=BEGAN + 12.5)],
        violations=[violation() for _ in range(violations)],
        timeline=[
            Second(at=int(BEGAN) + at, answers=200, hits=150, misses=40, stale=int(at % 7 == 0)) for at in range(60)
        ],
    )


def violation() -> Violation:
    return Violation(
        kind="false label",
        entity="d3",
        shown=4,
        newer=5,
        committed=BEGAN + 11,
        visible=BEGAN + 11.001,
        sent=BEGAN + 12,
        received=BEGAN + 12.01,
        as_of=BEGAN + 11.9,
        staleness=1.0,
        process="bff-user-2",
        path="/my/<script>",
        head="HTTP/1.1 200 OK\r\ncache-status: cloudphone; hit; detail=l1",
        fault="kill-bff",
    )


def test_the_page_needs_nothing_else_and_reads_in_the_dark() -> None:
    page = html(found(stale=20))
    assert not re.search(r"https?://|src=|@import|<script|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 2


def test_the_page_says_what_was_found() -> None:
    page = html(found(stale=20))
    assert "Consistent: no answer claimed" in page
    for figure in ("12,345", "30,020", "seed 7", "kill-bff", "bff-user-2", "4.0 nines"):
        assert figure in page


def test_a_violation_is_shown_with_its_evidence() -> None:
    page = html(found(violations=1))
    assert "Not consistent" in page and "1 check claimed more freshness than was true" in page
    for evidence in (
        "false label: d3",
        "change 5, committed",
        "cache-status: cloudphone; hit",
        "/my/&lt;script",
    ):
        assert evidence in page


def test_a_run_that_ended_early_says_so() -> None:
    page = html(msgspec.structs.replace(found(), cut_short="interrupted after 12 of 60 s", interrupted=True))
    assert "only what was seen until then: interrupted after 12 of 60 s." in page
    assert "Ended early" not in html(found())


def test_a_run_that_checked_nothing_proves_nothing() -> None:
    page = html(msgspec.structs.replace(found(), checks=0, classes=[], timeline=[]))
    assert "not one name was checked" in page and "Consistent" not in page


def test_the_report_is_written_as_a_page_and_as_json(tmp_path: Path) -> None:
    result = found(violations=2, stale=3)
    page = write_report(result, tmp_path / "new" / "folder")
    assert page.read_text().startswith("<!doctype html>")
    assert msgspec.to_builtins(read_report(page.with_name("report.json"))) == msgspec.to_builtins(result)


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"file.* cannot be used"):
        write_report(found(), tmp_path / "file")


def test_what_is_no_report_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(CommandError, match="is no report"):
        read_report(tmp_path / "report.json")


def test_a_single_stale_check_is_to_be_seen() -> None:
    [height] = re.findall(r'<rect class="fresh"[^>]*height="([\d.]+)"', distribution({"fresh": {10: 1}}))
    assert float(height) > 5


@pytest.mark.parametrize(("seconds", "expected"), [(0.001, "1 ms"), (0.1, "0.1 s"), (60, "60 s")])
def test_times_are_spelt_for_people(seconds: float, expected: str) -> None:
    assert spelt(seconds) == expected


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (7, 10), (12, 20), (480, 500), (501, 1000)])
def test_axes_end_at_round_figures(most: float, expected: int) -> None:
    assert nice(most) == expected
