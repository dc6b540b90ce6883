"""Charts."""

from pathlib import Path
from xml.etree import ElementTree as Xml

from tests.bench import charts
from tests.bench.test_figures import measured


def test_the_same_figures_give_the_same_charts(tmp_path: Path) -> None:
    figures = measured()
    figures.growth["processes"] = [
        {
            "processes": n,
            "cores": 2,
            "rps": 900 * n,
            "rps_min": 800 * n,
            "rps_max": 990 * n,
            "p50_ms": n,
            "p99_ms": 3 * n,
        }
        for n in (1, 2)
    ]
    first = {path.name: path.read_bytes() for path in charts.draw(tmp_path / "first", figures)}
    again = {path.name: path.read_bytes() for path in charts.draw(tmp_path / "again", figures)}
    assert set(first) == {"answers.svg", "growth-processes.svg"}
    assert first == again
    for chart in first.values():
        assert Xml.fromstring(chart).tag.endswith("svg")
        assert b"dc:date" not in chart
