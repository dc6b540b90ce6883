"""What is expected of the figures, each with what was found."""

import operator
from collections.abc import Callable
from typing import NamedTuple, TypedDict

from tests.bench.figures import Figures


class Verdict(TypedDict):
    """`found` is None where it was not measured."""

    what: str
    expected: str
    found: float | None
    ok: bool


class Expected(NamedTuple):
    what: str
    sign: str
    bound: float
    unit: str
    found: Callable[[Figures], float]

    def verdict(self, figures: Figures) -> Verdict:
        try:
            found = self.found(figures)
        except KeyError:
            return Verdict(what=self.what, expected=self._spelled, found=None, ok=False)
        ok = {"≥": operator.ge, "≤": operator.le, ">": operator.gt}[self.sign](found, self.bound)
        return Verdict(what=self.what, expected=self._spelled, found=round(found, 3), ok=ok)

    @property
    def _spelled(self) -> str:
        return f"{self.sign} {self.bound:g} {self.unit}".strip()


def _ratio(name: str, to: str) -> Callable[[Figures], float]:
    return lambda figures: figures.ratio(name, to)


def _median(name: str) -> Callable[[Figures], float]:
    return lambda figures: figures.median(name)


def _ahead_of(peer: str) -> Expected:
    found = _ratio("beside_peers_hit_l1_rps", f"peer_{peer}_rps")
    return Expected(f"L1 hit to {peer}'s, both checked", ">", 1, "×", found)


EXPECTED: dict[str, Expected] = {
    "hit_l1_of_constant": Expected(
        "L1 hit, checked, of the bare constant", "≥", 0.65, "", _ratio("hit_l1_rps", "constant_rps")
    ),
    "hit_l2_of_constant": Expected(
        "L2 hit, checked, of the bare constant", "≥", 0.55, "", _ratio("hit_l2_rps", "constant_rps")
    ),
    "hit_l2_of_redis_py": Expected(
        "L2 hit to the same through redis-py", "≥", 5, "×", _ratio("hit_l2_rps", "redis_py_rps")
    ),
    "hit_l1_p99_of_p50": Expected("p99 to p50 of L1 hits", "≤", 4, "×", _ratio("hit_l1_p99_ms", "hit_l1_p50_ms")),
    "hit_l2_p99_of_p50": Expected("p99 to p50 of L2 hits", "≤", 4, "×", _ratio("hit_l2_p99_ms", "hit_l2_p50_ms")),
    "miss_over_slowest_path": Expected(
        "miss p50 over the slowest path", "≤", 2.5, "ms",
        lambda figures: figures.median("miss_p50_ms") - figures.median("slowest_path_p50_ms"),
    ),
    "warmup_views_per_s": Expected(
        "warm-up by one process, all on the same cores", "≥", 300, "views/s", _median("warmup_views_per_s")
    ),
    "warmup_views_per_core_s": Expected(
        "warm-up, per CPU second of that process", "≥", 300, "views", _median("warmup_views_per_core_s")
    ),
    "overhead_bytes_per_view": Expected(
        "overhead of a view in Redis", "≤", 1024, "bytes", _median("overhead_bytes_per_view")
    ),
    "commit_to_heard_p50": Expected("commit → heard by all, p50", "≤", 8, "ms", _median("commit_to_heard_p50_ms")),
    "commit_to_heard_p99": Expected("commit → heard by all, p99", "≤", 30, "ms", _median("commit_to_heard_p99_ms")),
    "p99_at_10000_changes": Expected(
        "p99 of hits at 10,000 changes/s, to none", "≤", 1.333, "×",
        _ratio("p99_at_10000_changes_ms", "p99_without_changes_ms"),
    ),
    "p99_of_hearing_10000_changes": Expected(
        "the same, to 10,000 that are written but not heard", "≤", 1.333, "×",
        _ratio("p99_at_10000_changes_ms", "p99_beside_10000_changes_ms"),
    ),
    "install_request_p99": Expected(
        "an installation asked for, p99", "≤", 100, "ms", _median("install_request_p99_ms")
    ),
    "ahead_of_fastapi_cashews": _ahead_of("fastapi_cashews"),
    "ahead_of_litestar_stores": _ahead_of("litestar_stores"),
    "ahead_of_fastify": _ahead_of("fastify"),
}  # fmt: skip


def verdicts(figures: Figures) -> dict[str, Verdict]:
    return {name: expected.verdict(figures) for name, expected in EXPECTED.items()}
