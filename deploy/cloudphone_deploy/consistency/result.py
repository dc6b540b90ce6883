"""What a run found: the document that a report is made of."""

import msgspec

from .verdict import ALLOWED_SECONDS, ALLOWED_SECONDS_WITH_FAULTS, BOUNDS, Incident, Nines, Tally, Violation, nines


class Second(msgspec.Struct, rename="camel"):
    """One second of the run: answers by where they came from, `stale` checks among them, `lost` requests."""

    at: int
    answers: int = 0
    hits: int = 0
    misses: int = 0
    degraded: int = 0
    stale: int = 0
    lost: int = 0


class Class(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Checks of one kind: seen with a fault near or not, in answers that passed for fresh or were labelled otherwise.

    `nines` in the order of `bounds`.
    """

    faults: bool
    labelled_old: bool
    tally: Tally
    nines: list[Nines]


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run of the checker. Times in seconds; moments in seconds since 1970.

    An answer is one HTTP response; a check is one name in one answer. `allowed` is how stale an answer that passes for
    fresh may be. `false_labels` claimed, by X-Fresh-As-Of, to be younger than a change that they lacked;
    `within_commit` of them fell into the moments that a commit takes to become visible, and are no violation.
    `foreign` checks showed what has no place in the view that was asked for. `cut_short` says why the run ended before
    its time, if it did, and `interrupted` whether by who had started it: `seconds` and all that was seen are then those
    until there. `unknown` checks showed a name of which no commit is known. `exact` is False where the database keeps
    no commit times.
    """

    began: float
    seconds: float
    seed: int
    rate: float
    readers: int
    processes: list[str]
    faults: list[str]
    allowed: float
    exact: bool
    writes: int
    writes_unanswered: int
    answers: int
    checks: int
    not_modified: int
    lost: int
    sources: dict[str, int]
    statuses: dict[int, int]
    session_reads: int
    unknown: int
    unjudged: int
    within_commit: int
    false_labels: int
    stale_as_fresh: int
    missed_writes: int
    went_back: int
    bounds: tuple[float, ...] = BOUNDS
    classes: list[Class]
    incidents: list[Incident]
    violations: list[Violation]
    timeline: list[Second]
    foreign: int = 0
    cut_short: str = ""
    interrupted: bool = False

    @property
    def consistent(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """A sentence for each thing that must not be and was."""
        found = {
            "claimed more freshness than was true": self.false_labels,
            f"passed for fresh when a newer name had been committed more than {self.allowed:g} s before": (
                self.stale_as_fresh
            ),
            "lacked the caller's own write": self.missed_writes,
            "showed an older name than the caller had seen": self.went_back,
            "showed a name that belongs to another's view": self.foreign,
        }
        return [f"{count:,} check{'' if count == 1 else 's'} {what}." for what, count in found.items() if count]

    def tally(self, *, faults: bool | None = None, labelled_old: bool | None = False) -> Tally:
        """Of all classes that fit; None fits both."""
        chosen = [
            each.tally
            for each in self.classes
            if faults in (None, each.faults) and labelled_old in (None, each.labelled_old)
        ]
        return sum(chosen, Tally())


def classes_of(tallies: dict[tuple[bool, bool], Tally]) -> list[Class]:
    return [
        Class(
            faults=faults,
            labelled_old=labelled,
            tally=tally,
            nines=[nines(stale, tally.checks) for stale in tally.stale],
        )
        for (faults, labelled), tally in tallies.items()
    ]


def allowed_with(faults: bool) -> float:
    return ALLOWED_SECONDS_WITH_FAULTS if faults else ALLOWED_SECONDS
