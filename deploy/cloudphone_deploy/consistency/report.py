"""The report: one HTML page that needs nothing else, and the same as JSON."""

import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import msgspec

from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import refusing

from . import charts
from .progress import nines_text
from .result import Class, Result
from .verdict import BOUNDS, Incident, Tally, Violation, utc

PERCENTILES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def prepare(folder: Path) -> None:
    """Raises CommandError when no report can be written there."""
    with refusing(folder, "another one with --report"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write_report(result: Result, folder: Path) -> Path:
    """Writes report.html and report.json; returns the page's path. Raises CommandError when it cannot."""
    prepare(folder)
    with refusing(folder, "another one with --report"):
        (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        page = folder / "report.html"
        page.write_text(html(result), encoding="utf-8")
    return page


def read_report(path: Path) -> Result:
    """Raises CommandError for what is no report."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"{path} is no report of check-consistency: {error}.") from error


def html(result: Result) -> str:
    return _PAGE.format(
        style=_STYLE,
        verdict=_cut_short(result) + _verdict(result),
        facts=_facts(result),
        nines=_nines(result.classes),
        timeline=charts.timeline(result.timeline, result.incidents, result.began),
        distribution=_distribution(result),
        percentiles=_percentiles(result.classes),
        sources=_sources(result),
        incidents=_incidents(result.incidents, result),
        violations=_violations(result.violations, result),
    )


def _cut_short(result: Result) -> str:
    if not result.cut_short:
        return ""
    return (
        f'<p class="verdict cut">Ended early, and says only what was seen until then: {escape(result.cut_short)}.</p>'
    )


def _verdict(result: Result) -> str:
    if not result.checks:
        return '<p class="verdict bad">Nothing can be said: not one name was checked.</p>'
    if result.consistent:
        return (
            '<p class="verdict good">Consistent: no answer claimed to be fresher than it was, and none passed for fresh'
            f" more than {result.allowed:g} s after a newer change.</p>"
        )
    return (
        '<div class="verdict bad">Not consistent:<ul>'
        + "".join(f"<li>{escape(failure)}</li>" for failure in result.failures)
        + "</ul></div>"
    )


def _facts(result: Result) -> str:
    began = datetime.fromtimestamp(result.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts = {
        "checks": f"{result.checks:,}",
        "answers": f"{result.answers:,}",
        "changes": f"{result.writes:,}",
        "faults": f"{len(result.incidents):,}",
        "false labels": f"{result.false_labels:,}",
        "stale as fresh": f"{result.stale_as_fresh:,}",
        "own writes missed": f"{result.missed_writes:,}",
        "went back": f"{result.went_back:,}",
        "another's": f"{result.foreign:,}",
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    clock = (
        ""
        if result.exact
        else " The database keeps no commit times: staleness is told too high by a transaction's length."
    )
    return (
        f"<dl>{tiles}</dl><p class='note'>{began}, {result.seconds:g} s, seed {result.seed}, {result.rate:g} changes/s "
        f"asked for, {result.readers} readers at {escape(', '.join(result.processes))}. {result.session_reads:,} reads "
        f"carried a Fresh-After token; {result.not_modified:,} answers were 304. {result.within_commit:,} labels fell "
        f"into the moments that a commit takes to become visible. {result.unknown:,} names belonged to no known "
        f"commit, {result.unjudged:,} answers were not judged.{clock}</p>"
    )


def _nines(classes: Sequence[Class]) -> str:
    head = "".join(f"<th>stale at {bound:g} s</th>" for bound in BOUNDS)
    rows = [
        f"<tr><th>{_name(each)}</th><td>{each.tally.checks:,}</td>"
        + "".join(f"<td>{one.stale:,}<small>{nines_text(one.nines, one.supported)}</small></td>" for one in each.nines)
        + "</tr>"
        for each in classes
        if each.tally.checks
    ]
    return f"<table><tr><th></th><th>checks</th>{head}</tr>{''.join(rows)}</table>"


def _distribution(result: Result) -> str:
    fresh, labelled = result.tally(), result.tally(labelled_old=True)
    if not fresh.spread and not labelled.spread:
        return "<p class='note'>Not one stale check.</p>"
    return charts.distribution({"fresh": fresh.spread, "labelled": labelled.spread})


def _percentiles(classes: Sequence[Class]) -> str:
    head = "".join(f"<th>p{share * 100:g}</th>" for share in PERCENTILES)
    rows = [
        f"<tr><th>{_name(each)}</th>"
        + "".join(f"<td>{_at(each.tally, share)}</td>" for share in PERCENTILES)
        + f"<td>{charts.spelt(each.tally.worst) if each.tally.worst else '0'}</td></tr>"
        for each in classes
        if each.tally.checks
    ]
    return f"<table><tr><th></th>{head}<th>worst</th></tr>{''.join(rows)}</table>"


def _at(tally: Tally, share: float) -> str:
    """A dash where so few checks cannot tell."""
    if tally.checks * (1 - share) < 1:
        return "–"
    value = tally.percentile(share)
    return charts.spelt(value) if value else "0"


def _sources(result: Result) -> str:
    counts = {**result.sources, **{f"status {status}": count for status, count in sorted(result.statuses.items())}}
    if result.lost:
        counts["no answer"] = result.lost
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{count:,}</td></tr>" for name, count in counts.items())
    return f"<table class='narrow counts'><tr><th>answered</th><th>answers</th></tr>{rows}</table>"


def _incidents(incidents: Sequence[Incident], result: Result) -> str:
    if not incidents:
        return "<p class='note'>None were made.</p>"
    rows = "".join(
        f"<tr><th>{escape(each.name)}</th><td>{escape(each.target)}</td><td>{each.began - result.began:.1f} s</td>"
        f"<td>{each.ended - each.began:.1f} s</td></tr>"
        for each in incidents
    )
    return f"<table><tr><th>fault</th><th>of</th><th>began</th><th>until all was well</th></tr>{rows}</table>"


def _violations(violations: Sequence[Violation], result: Result) -> str:
    if not violations:
        return "<p class='note'>None.</p>"
    return "".join(_violation(each) for each in violations) + (
        f"<p class='note'>The first {len(violations)} are shown.</p>"
    )


def _violation(each: Violation) -> str:
    facts: Iterable[tuple[str, str]] = (
        ("entity", each.entity),
        ("shown", f"change {each.shown}"),
        (
            "newer",
            f"change {each.newer}, committed {utc(each.committed)}, visible by {utc(each.visible)}"
            if each.newer != each.shown
            else "none",
        ),
        ("request sent", utc(each.sent)),
        ("answer received", utc(each.received)),
        ("X-Fresh-As-Of", utc(each.as_of) if each.as_of else "none"),
        ("staleness", charts.spelt(each.staleness) if each.staleness else "0"),
        ("process", each.process),
        ("asked for", each.path),
        ("fault", each.fault or "none"),
    )
    rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return (
        f"<details><summary>{escape(each.kind)}: {escape(each.entity)}, {charts.spelt(each.staleness)} stale, from "
        f"{escape(each.process)}</summary><table class='narrow'>{rows}</table><pre>{escape(each.head)}</pre></details>"
    )


def _name(each: Class) -> str:
    what = "labelled not fresh or degraded" if each.labelled_old else "passed for fresh"
    return f"{what}, {'with' if each.faults else 'without'} faults"


_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --ink: #1d1f23; --soft: #63676f; --line: #dedfe2; --panel: #fff;
  --hits: #2f6fb5; --misses: #8fbce6; --degraded: #d9902f; --others: #b9bdc4; --fault: #d9902f2e; --stale: #c2362b;
  --good: #1f7a4d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #16181c; --ink: #e7e8ea; --soft: #9a9fa8; --line: #32363d;
  --panel: #1d2025; --hits: #5b9bdf; --misses: #2d527a; --degraded: #d9982f; --others: #5a606a; --fault: #d9902f38;
  --stale: #f0776d; --good: #5fc492; --bad: #f0776d; } }
body { margin: 0 auto; max-width: 1000px; padding: 24px 20px 64px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 12px; } h2 { font-size: 17px; margin: 36px 0 8px; }
.verdict { padding: 10px 14px; border-left: 4px solid; background: var(--panel); font-weight: 600; }
.verdict ul { margin: 4px 0 0; } .good { border-color: var(--good); color: var(--good); }
.bad { border-color: var(--bad); color: var(--bad); } .cut { border-color: var(--degraded); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 8px; margin: 16px 0; }
dl div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums; }
.note { color: var(--soft); font-size: 13px; max-width: 75ch; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } table.narrow { width: auto; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, .narrow td { text-align: left; } .narrow.counts td { text-align: right; }
th { font-weight: 500; color: var(--soft); }
td small { display: block; color: var(--soft); white-space: nowrap; }
svg { width: 100%; min-width: 640px; height: auto; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } .grid { stroke: var(--line); }
.axis { stroke: var(--soft); } .bound { stroke: var(--stale); stroke-dasharray: 3 4; opacity: .7; }
.hits, .fresh { fill: var(--hits); } .misses { fill: var(--misses); } .degraded, .labelled { fill: var(--degraded); }
.others { fill: var(--others); } .fault { fill: var(--fault); } .stale { fill: var(--stale); }
.key span { display: inline-block; margin-right: 18px; font-size: 13px; color: var(--soft); }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
details { border-bottom: 1px solid var(--line); padding: 6px 0; } summary { cursor: pointer; }
pre { overflow-x: auto; font-size: 12px; background: var(--panel); padding: 10px; border: 1px solid var(--line); }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Consistency report</title><style>{style}</style></head><body>
<h1>Consistency report</h1>
{verdict}
{facts}
<h2>Nines</h2>
<p class="note">A check is one name in one answer; it is stale when a newer name had been committed before its request
was sent. Nines are −log₁₀(stale ÷ checks), never more than so many checks can support: k nines need 3·10^k of them. “≥”
stands where nothing stale was seen.</p>
<div class="wide">{nines}</div>
<h2>Over time</h2>
<p class="key"><span><i class="hits" style="background:var(--hits)"></i>hits</span>
<span><i style="background:var(--misses)"></i>composed</span>
<span><i style="background:var(--degraded)"></i>degraded or not fresh, and said so</span>
<span><i style="background:var(--others)"></i>lists and refusals</span>
<span><i style="background:var(--fault)"></i>a fault, until all was well</span>
<span><i style="background:var(--stale);border-radius:50%"></i>stale checks in that second</span></p>
<div class="wide">{timeline}</div>
<p class="note">Answers per second.</p>
<h2>How stale</h2>
<p class="key"><span><i style="background:var(--hits)"></i>passed for fresh</span>
<span><i style="background:var(--degraded)"></i>labelled not fresh or degraded</span></p>
<div class="wide">{distribution}</div>
<p class="note">Stale checks by how long before their request the newer name had been committed.</p>
<div class="wide">{percentiles}</div>
<h2>Where answers came from</h2>
{sources}
<h2>Faults</h2>
<div class="wide">{incidents}</div>
<h2>Violations</h2>
{violations}
</body></html>
"""
