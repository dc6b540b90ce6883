"""The figures as Markdown: each table stands between its markers in docs/performance.md, and is written anew there."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench.expected import Verdict
from tests.bench.figures import Figures, Row

ANSWERS: Mapping[str, str] = {
    "constant": "a constant, nothing checked",
    "constant_checked": "a constant, token and limit checked",
    "hit_l1": "**hit, L1**",
    "hit_l1_unchecked": "hit, L1, nothing checked",
    "hit_l2": "**hit, L2**",
    "not_modified": "304, L1",
    "redis_py": "the L2 hit through redis-py",
}
BESIDE: Mapping[str, str] = {
    "beside_peers_hit_l1": "**Cloudphone, L1**",
    "beside_peers_hit_l2": "**Cloudphone, L2**",
    "peer_fastify": "Fastify + ioredis",
    "peer_litestar_stores": "Litestar + ResponseCache",
    "peer_fastapi_cashews": "FastAPI + cashews",
}
COSTS: Mapping[str, str] = {
    "miss_p50_ms": "miss, p50",
    "slowest_path_p50_ms": "— the slowest path of its services",
    "list50_p50_ms": "list of 50, cards cached",
    "list50_page_of_ids_p50_ms": "— its page of ids alone",
    "list50_cold_ms": "list of 50, all cards cold",
    "list50_batches_p50_ms": "— its page of ids and two batches, one after the other",
    "stampede_last_ms": "64 callers at one cold view, the last answered",
    "stampede_slowest_path_ms": "— the slowest path, once",
    "stampede_compositions": "— compositions",
    "warmup_views_per_s": "warm-up by one process",
    "warmup_views_per_core_s": "— per CPU second of that process",
    "warmup_bff_cpu_ms_per_view": "— its CPU per view",
    "warmup_services_cpu_ms_per_view": "— the services', PostgreSQL's and Redis' CPU per view",
    "commit_to_heard_p50_ms": "commit → heard by the slowest of four, p50",
    "commit_to_heard_p99_ms": "— p99",
    "commit_to_seen_p50_ms": "commit → seen by a caller, p50",
    "commit_to_seen_p99_ms": "— p99",
    "mixed_rps": "95 reads to 5 renames, 16 connections",
    "mixed_reads_alone_rps": "— the reads alone",
    "mixed_hit_share": "— share of hits among the reads",
    "mixed_p50_ms": "— reads, p50",
    "mixed_p99_ms": "— reads, p99",
    "mixed_writes_per_s": "— renames",
    "mixed_writes_p50_ms": "— renames, p50",
    "p99_without_changes_ms": "1,000 hits/s, L1, p99",
    "p99_beside_10000_changes_ms": "— while 10,000 changes/s are written that it does not hear",
    "p99_at_10000_changes_ms": "— while it hears them",
    "in_process_p99_alone_ms": "64 callers of the cache itself, L1, p99",
    "in_process_p99_at_10000_changes_ms": "— while 10,000 changes/s are heard",
    "cpu_us_per_change": "— a change heard",
    "overhead_bytes_per_view": "a view in Redis, beside its body",
    "body_bytes_per_view": "— its body",
    "install_request_p50_ms": "an installation asked for through the admin BFF, p50",
    "install_request_p99_ms": "— p99",
    "rename_request_p50_ms": "— beside it, a device renamed, p50",
    "rename_request_p99_ms": "— p99",
    "metering_events_per_s": "starts and stops of runs taken in by one billing worker, in a second",
    "metering_cpu_us": "— CPU of its process for one, without PostgreSQL's",
    "purchases_hot_per_s": "purchases/s from one wallet, eight at once, from the request to the subscription",
    "purchases_hot_cpu_ms": "— CPU of the process for one, without PostgreSQL's",
    "purchases_spread_per_s": "purchases/s from 1,000 wallets of one tenant, eight at once",
    "purchases_spread_cpu_ms": "— CPU of the process for one, without PostgreSQL's",
    "transfers_hot_per_s": "transfers/s out of one wallet, eight at once",
    "bare_hot_per_s": "— the same rows inserted bare",
    "transfers_hot_cpu_us": "— CPU of the process for a transfer, without PostgreSQL's",
    "transfers_spread_per_s": "transfers/s out of 1,000 wallets of one tenant, eight at once",
    "bare_spread_per_s": "— the same rows inserted bare",
    "rating_tiered_cpu_us": "an interval rated by tiers, of 1,000,000: CPU of the pure function",
    "rating_time_based_cpu_us": "— by time windows",
    "rating_written_per_s": "— from usage records to charges by one billing worker, in a second",
    "rating_written_cpu_us": "— CPU of its process for one, without PostgreSQL's",
    "invoice_issue_ms": "an invoice of 10,000 lines issued, from its charges to the commit",
    "invoice_read_ms": "— read, as JSON",
    "invoice_pdf_ms": "— as PDF",
    "invoice_csv_ms": "— as CSV",
    "upload_memory_mib": "2 GB uploaded in one request: memory that the app service takes for it",
    "upload_mib_per_s": "— MiB/s, until it has been put together and read",
    "reconcile_ms": "5,000 simulated containers held against their rows, all as they should be",
    "reconcile_cpu_ms": "— CPU",
    "reconcile_stall_ms": "— the longest that the event loop did nothing else",
    "reconcile_repairing_ms": "— where 100 devices lost theirs and 100 have no device, all repaired",
    "allocations_round_robin_per_s": "allocations/s, 1,000 nodes and 10,000 devices, round robin",
    "allocations_round_robin_p99_ms": "— p99",
    "allocations_round_robin_cpu_ms": "— CPU of the service, each",
    "allocations_weighted_round_robin_per_s": "— weighted round robin",
    "allocations_weighted_round_robin_p99_ms": "— p99",
    "allocations_weighted_round_robin_cpu_ms": "— CPU of the service, each",
    "allocations_least_connection_per_s": "— least connection",
    "allocations_least_connection_p99_ms": "— p99",
    "allocations_least_connection_cpu_ms": "— CPU of the service, each",
}
GROWTH: Mapping[str, Mapping[str, str]] = {
    "views": {
        "views": "views", "rps": "L2 hits/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "server_cpu_us": "server CPU µs",
        "redis_cpu_us": "Redis CPU µs", "redis_bytes_per_view": "bytes per view",
    },
    "rates": {
        "changes_per_s": "changes/s", "reader_cpu_percent": "reader's CPU %", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
        "p99_min_ms": "p99, least", "p99_max_ms": "p99, most",
    },
    "dependencies": {
        "dependencies": "entities shown", "l1_us": "L1 read, CPU µs", "l1_after_change_us": "L1 read after any change",
        "l2_us": "L2 read", "entry_bytes": "entry, bytes",
    },
    "processes": {
        "processes": "processes", "rps": "L1 hits/s", "rps_min": "least", "rps_max": "most", "p50_ms": "p50 ms",
        "p99_ms": "p99 ms", "server_cpu_us": "server CPU µs",
    },
}  # fmt: skip


def write(path: Path, figures: Figures) -> None:
    """Raises ValueError for a pair of markers that is not there."""
    text = path.read_text()
    for name, table in TABLES.items():
        text = between(text, name, table(figures))
    path.write_text(text)


def between(text: str, name: str, table: str) -> str:
    """What stands between `<!-- name -->` and `<!-- /name -->`, replaced. Raises ValueError without the markers."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL
    )
    if found[1] != 1:
        raise ValueError(f"{begin} … {end} stands {found[1]} times")
    return found[0]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)) if rows else "Not measured."


def number(value: float) -> str:
    """Three digits that say something, and none after the point of what is large."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _spread(figures: Figures, name: str) -> str:
    values = figures.rounds(name)
    return f"{number(min(values))} – {number(max(values))}"


def machine(figures: Figures) -> str:
    facts = figures.facts.get("machine", {})
    described = ", ".join(
        str(part)
        for part in (
            facts.get("processor"),
            f"{facts.get('cores')} cores",
            f"{facts.get('memory_gib')} GiB",
            facts.get("system"),
            f"Python {facts.get('python')}",
        )
        if part
    )
    return (
        f"{described}. `{figures.facts.get('command')}`, {figures.facts.get('at')}, {figures.facts.get('seconds')} s."
    )


def expected(figures: Figures) -> str:
    verdicts: Mapping[str, Verdict] = figures.facts.get("expected", {})
    return _table(
        ["", "expected", "found", ""],
        [
            [
                verdict["what"],
                verdict["expected"],
                "—" if verdict["found"] is None else number(verdict["found"]),
                "not measured" if verdict["found"] is None else "✓" if verdict["ok"] else "short of it",
            ]
            for verdict in verdicts.values()
        ],
    )


def answers(figures: Figures) -> str:
    return _table(
        ["", "requests/s", "spread", "p50 ms", "p99 ms", "p99/p50", "server CPU µs", "of the constant"],
        [
            [
                title, number(figures.median(f"{name}_rps")), _spread(figures, f"{name}_rps"),
                number(figures.median(f"{name}_p50_ms")), number(figures.median(f"{name}_p99_ms")),
                number(figures.ratio(f"{name}_p99_ms", f"{name}_p50_ms")), number(figures.median(f"{name}_cpu_us")),
                number(figures.ratio(f"{name}_rps", "constant_rps")),
            ]
            for name, title in ANSWERS.items()
            if f"{name}_rps" in figures and "constant_rps" in figures
        ],
    )  # fmt: skip


def peers(figures: Figures) -> str:
    """Hits with token and limit checked, and with neither; ours ahead by the factor of rounds side by side."""
    ours = "beside_peers_hit_l1_rps"
    return _table(
        ["", "hits/s, checked", "spread", "CPU µs", "L1 ahead by", "hits/s, unchecked", "L1 ahead by"],
        [
            [
                title, number(figures.median(f"{name}_rps")), _spread(figures, f"{name}_rps"),
                number(figures.median(f"{name}_cpu_us")), f"{figures.ratio(ours, f'{name}_rps'):.1f} ×",
                *_unchecked(figures, name),
            ]
            for name, title in BESIDE.items()
            if f"{name}_rps" in figures and ours in figures
        ],
    )  # fmt: skip


def _unchecked(figures: Figures, name: str) -> list[str]:
    theirs, ours = f"{name}_unchecked_rps", "beside_peers_hit_l1_unchecked_rps"
    if theirs not in figures or ours not in figures:
        return ["", ""]
    return [number(figures.median(theirs)), f"{figures.ratio(ours, theirs):.1f} ×"]


def after_renames(figures: Figures) -> str:
    """Misses, and what is seen after a change. The product's figures are those of its L1."""
    names = {"beside_peers" if name == "beside_peers_hit_l1" else name: title for name, title in BESIDE.items()}
    return _table(
        ["", "miss p50 ms", "device renamed → seen, ms", "device still old after 3 s", "owner still old after 3 s"],
        [
            [
                title, number(figures.median(f"{name}_miss_p50_ms")),
                number(figures.median(f"{name}_device_seen_ms")) if f"{name}_device_seen_ms" in figures else "—",
                _share(figures, f"{name}_old_device"), _share(figures, f"{name}_old_owner"),
            ]
            for name, title in names.items()
            if f"{name}_miss_p50_ms" in figures
        ],
    )  # fmt: skip


def _share(figures: Figures, name: str) -> str:
    if name not in figures:
        return "—"
    rounds = figures.rounds(name)
    return f"{sum(rounds):.0f} of {len(rounds)}"


def costs(figures: Figures) -> str:
    return _table(
        ["", "median", "spread", "unit"],
        [
            [title, number(figures.median(name)), _spread(figures, name), figures.unit(name)]
            for name, title in COSTS.items()
            if name in figures
        ],
    )


def growth(figures: Figures, name: str) -> str:
    heads = GROWTH[name]
    return _table(
        list(heads.values()),
        [[_cell(row.get(column)) for column in heads] for row in figures.growth.get(name, [])],
    )


def _cell(value: "Row | float | int | str | None") -> str:
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value or "")


TABLES: Mapping[str, Callable[[Figures], str]] = {
    "machine": machine,
    "expected": expected,
    "answers": answers,
    "peers": peers,
    "peers: misses and renames": after_renames,
    "costs": costs,
    "growth: views": lambda figures: growth(figures, "views"),
    "growth: rates": lambda figures: growth(figures, "rates"),
    "growth: dependencies": lambda figures: growth(figures, "dependencies"),
    "growth: processes": lambda figures: growth(figures, "processes"),
}
