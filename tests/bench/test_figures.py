"""The benchmark's arithmetic and its tables, without measuring anything."""

import argparse
from pathlib import Path

import pytest

from tests.bench import tables
from tests.bench.__main__ import PAGE, options
from tests.bench.expected import verdicts
from tests.bench.figures import Figures
from tests.bench.load import percentile


def measured() -> Figures:
    figures = Figures()
    for mine, constant, p50, p99 in ((650.0, 1000.0, 2.0, 6.0), (1400.0, 2000.0, 1.0, 3.5), (690.0, 1000.0, 2.0, 7.0)):
        figures.add("hit_l1_rps", mine, "requests/s")
        figures.add("constant_rps", constant, "requests/s")
        for name in ("hit_l1", "constant"):
            figures.add(f"{name}_p50_ms", p50, "ms")
            figures.add(f"{name}_p99_ms", p99, "ms")
            figures.add(f"{name}_cpu_us", 100, "µs")
    return figures


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7


def test_a_ratio_is_of_rounds_side_by_side() -> None:
    # The medians' own ratio would be 0.69: the second round's machine was twice as fast for both.
    assert measured().ratio("hit_l1_rps", "constant_rps") == 0.69
    figures = measured()
    figures.add("other_rps", 1300, "requests/s")
    assert figures.ratio("other_rps", "hit_l1_rps") == 2


def test_figures_survive_their_file(tmp_path: Path) -> None:
    figures = measured()
    figures.growth["views"] = [{"views": 1000, "rps": 7000}]
    figures.facts["command"] = "make bench"
    figures.save(tmp_path / "bench.json")
    kept = Figures.load(tmp_path / "bench.json")
    assert kept.as_json() == figures.as_json()
    assert kept.as_json()["hit_l1_rps"] == {
        "median": 690, "min": 650, "max": 1400, "unit": "requests/s", "rounds": [650, 1400, 690],
    }  # fmt: skip


def test_what_was_measured_again_replaces_what_was_kept() -> None:
    kept, again = measured(), Figures()
    again.add("hit_l1_rps", 5000, "requests/s")
    again.facts["failed"] = {}
    kept.take(again)
    assert kept.rounds("hit_l1_rps") == [5000]
    assert kept.median("constant_rps") == 1000


def test_a_verdict_names_what_was_found_and_what_was_not_measured() -> None:
    found = verdicts(measured())
    assert found["hit_l1_of_constant"]["found"] == 0.69
    assert found["hit_l1_of_constant"]["ok"]
    assert found["hit_l1_p99_of_p50"] == {
        "what": "p99 to p50 of L1 hits", "expected": "≤ 4 ×", "found": 3.5, "ok": True,
    }  # fmt: skip
    assert found["warmup_views_per_s"]["found"] is None
    assert not found["warmup_views_per_s"]["ok"]


def test_a_figure_that_falls_short_is_marked() -> None:
    figures = Figures()
    figures.add("overhead_bytes_per_view", 1025, "bytes")
    figures.facts["expected"] = verdicts(figures)
    assert not figures.facts["expected"]["overhead_bytes_per_view"]["ok"]
    assert "| overhead of a view in Redis | ≤ 1024 bytes | 1,025 | short of it |" in tables.expected(figures)


def test_a_table_stands_between_its_markers_and_replaces_the_one_before() -> None:
    text = "before\n<!-- answers -->\nold\nold\n<!-- /answers -->\nafter\n"
    once = tables.between(text, "answers", "| new |")
    assert once == "before\n<!-- answers -->\n| new |\n<!-- /answers -->\nafter\n"
    assert tables.between(once, "answers", "| new |") == once
    with pytest.raises(ValueError, match="0 times"):
        tables.between(text, "peers", "")


def test_every_table_has_its_place_on_the_page(tmp_path: Path) -> None:
    figures = measured()
    figures.growth["rates"] = [{"changes_per_s": 10_000, "reader_cpu_percent": 12.34, "p50_ms": 1.0, "p99_ms": 3.0}]
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text())
    tables.write(page, figures)
    written = page.read_text()
    assert "| **hit, L1** | 690 | 650 – 1,400 | 2.00 | 6.00 | 3.50 | 100 | 0.69 |" in written
    assert "| 10,000 | 12.3 | 1.00 | 3.00 |" in written


def test_scenarios_are_chosen_by_name() -> None:
    assert options().parse_args(["--only", "hits, peers"]).only == ["hits", "peers"]
    with pytest.raises(SystemExit):
        options().parse_args(["--only", "hists"])


def test_help_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert isinstance(options(), argparse.ArgumentParser)
    for name in options().get_default("only"):
        assert f"  {name} " in shown
