"""What running time costs follows from the runs, the terms and the rules alone, to the last fraction."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudphone_core.billing.rating.rate import FOR_EVER, Part, Run, Term, rate, rounded, shown, timeline, total
from cloudphone_core.billing.rating.tariffs import DAY, HOUR, Tariff, check_definition, tariff
from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind, Tier, TimeWindow
from cloudphone_shared.errors import Invalid

MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
RULE, SUBSCRIPTION = UUID(int=1), UUID(int=2)


def rule(kind: RuleKind, *, valid_from: int = 0, revision: int = 1, **definition: object) -> Tariff:
    described = RuleDefinition(**definition)  # type: ignore[arg-type]
    check_definition(kind, described)
    return tariff(RULE, revision, valid_from, kind, described)


def term(*, begins: int = 0, ends: int = FOR_EVER, included: int = 0, rule_id: UUID | None = RULE) -> Term:
    return Term(begins, ends, SUBSCRIPTION, begins, "USD", included, rule_id)


def run(start: int, seconds: int, number: int = 1) -> Run:
    return Run(UUID(int=100 + number), start, start + seconds)


def cost(parts: list[Part]) -> Fraction:
    """In minor units."""
    return Fraction(total(part.worth for part in parts)) / HOUR


def test_hours_beyond_those_of_the_plan_are_charged_by_tiers() -> None:
    tiers = [Tier(up_to_hours=2, rate=Decimal(10)), Tier(up_to_hours=None, rate=Decimal("2.5"))]
    parts = rate([run(MONDAY, 6 * HOUR)], [term(included=HOUR)], {RULE: [rule("tiered", tiers=tiers)]})
    assert [((part.end - part.start) / HOUR, part.rate, part.says) for part in parts] == [
        (1, 0, "Within the plan's hours"), (2, 10, "Tier 1"), (3, Decimal("2.5"), "Tier 2"),
    ]  # fmt: skip
    assert cost(parts) == Fraction("27.5")


def test_night_hours_cost_their_own_rate_also_over_midnight_and_the_weeks_end() -> None:
    night = TimeWindow(start="22:00", end="06:00", rate=Decimal(1), days=[7])
    sunday = MONDAY + 6 * DAY
    tariffs = {RULE: [rule("time-based", rate=Decimal(6), windows=[night])]}
    parts = rate([run(sunday + 21 * HOUR, 10 * HOUR)], [term()], tariffs)
    assert [((part.start - sunday) / HOUR, (part.end - sunday) / HOUR, part.rate) for part in parts] == [
        (21, 22, 6), (22, 24, 1), (24, 30, 1), (30, 31, 6),
    ]  # fmt: skip


def test_a_fixed_price_is_charged_once_a_period_and_a_use_once_a_run() -> None:
    runs = [run(MONDAY + day * DAY, HOUR, day) for day in range(4)]
    terms = [term(begins=MONDAY, ends=MONDAY + 2 * DAY), term(begins=MONDAY + 2 * DAY)]
    once = rate(runs, terms, {RULE: [rule("fixed", rate=Decimal(500))]})
    assert [part.worth / HOUR for part in once] == [500, 0, 500, 0]
    each = rate([*runs, run(MONDAY + 5 * DAY - HOUR, 2 * HOUR, 9)], terms, {RULE: [rule("per-use", rate=Decimal(7))]})
    assert [part.worth / HOUR for part in each] == [7, 7, 7, 7, 7, 0]


def test_a_run_that_goes_on_into_the_next_period_is_no_second_use() -> None:
    terms = [term(begins=0, ends=MONDAY), term(begins=MONDAY)]
    parts = rate([run(MONDAY - HOUR, 2 * HOUR)], terms, {RULE: [rule("per-use", rate=Decimal(7))]})
    assert cost(parts) == 7


def test_a_run_is_rated_by_the_version_in_force_when_it_began() -> None:
    versions = [rule("per-use", rate=Decimal(1)), rule("per-use", rate=Decimal(5), valid_from=MONDAY, revision=2)]
    parts = rate([run(MONDAY - 1, HOUR, 1), run(MONDAY + HOUR, HOUR, 2)], [term()], {RULE: versions})
    assert [(part.tariff.revision, part.worth / HOUR) for part in parts if part.tariff and part.worth] == [
        (1, 1),
        (2, 5),
    ]


def test_what_ran_without_a_subscription_costs_nothing_and_says_so() -> None:
    tariffs = {RULE: [rule("fixed", rate=Decimal(500))]}
    [before, beyond] = rate([run(MONDAY + 1, 2 * HOUR)], [term(begins=MONDAY + HOUR + 1, rule_id=None)], tariffs)
    assert (before.term, before.says, before.worth) == (None, "No subscription", 0)
    assert (beyond.says, beyond.worth) == ("Beyond the plan's hours, free of charge", 0)


def test_after_a_change_of_plan_the_new_plans_hours_count_for_the_whole_period() -> None:
    small = Term(MONDAY, MONDAY + 10 * HOUR, SUBSCRIPTION, MONDAY, "USD", 2 * HOUR, RULE)
    large = small._replace(begins=MONDAY + 10 * HOUR, ends=FOR_EVER, included=5 * HOUR)
    runs = [run(MONDAY, 4 * HOUR, 1), run(MONDAY + 10 * HOUR, 4 * HOUR, 2)]
    parts = rate(runs, [small, large], {RULE: [rule("per-use", rate=Decimal(1))]})
    assert [((part.end - part.start) // HOUR, part.included) for part in parts] == [
        (2, True), (2, False), (1, True), (3, False),
    ]  # fmt: skip


def test_money_is_rounded_once_half_to_even_from_the_exact_sum() -> None:
    assert [rounded(Decimal(half) * HOUR / 2) for half in (-3, -1, 1, 3, 5)] == [-2, 0, 0, 2, 2]
    just_more = Decimal(HOUR) / 2 + Decimal("1E-10")
    assert (shown(just_more), rounded(just_more)) == (Decimal("0.5"), 1)
    cent_a_day = [Decimal(5) * second for second in (1, 719)]
    assert rounded(total(cent_a_day)) == 1
    assert [rounded(worth) for worth in cent_a_day] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "definition", "field"),
    [
        ("fixed", RuleDefinition(), "rate"),
        ("fixed", RuleDefinition(rate=Decimal(-1)), "rate"),
        ("per-use", RuleDefinition(rate=Decimal(10**9 + 1)), "rate"),
        ("per-use", RuleDefinition(rate=Decimal("0.00000000001")), "rate"),
        ("per-use", RuleDefinition(rate=Decimal("NaN")), "rate"),
        ("per-use", RuleDefinition(rate=Decimal("Infinity")), "rate"),
        ("fixed", RuleDefinition(rate=Decimal(1), tiers=[Tier(up_to_hours=None, rate=Decimal(1))]), "tiers"),
        ("tiered", RuleDefinition(tiers=[Tier(up_to_hours=5, rate=Decimal(1))]), "tiers[0].upToHours"),
        ("tiered", RuleDefinition(tiers=[Tier(up_to_hours=None, rate=Decimal(1))] * 2), "tiers[0].upToHours"),
        (
            "tiered",
            RuleDefinition(tiers=[Tier(up_to_hours=hours, rate=Decimal(1)) for hours in (5, 5, None)]),
            "tiers[1].upToHours",
        ),
        (
            "time-based",
            RuleDefinition(
                rate=Decimal(1),
                windows=[
                    TimeWindow(start="22:00", end="02:00", rate=Decimal(1), days=[7]),
                    TimeWindow(start="01:00", end="03:00", rate=Decimal(1), days=[1]),
                ],
            ),
            "windows[1]",
        ),
        ("time-based", RuleDefinition(rate=Decimal(1)), "windows"),
        (
            "time-based",
            RuleDefinition(rate=Decimal(1), windows=[TimeWindow(start="01:00", end="02:00", rate=Decimal(-1))]),
            "windows[0].rate",
        ),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_its_fault(
    kind: RuleKind, definition: RuleDefinition, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check_definition(kind, definition)
    assert f"definition.{field}" in [fault.field for fault in refused.value.errors]


rates = st.decimals(0, 10**9, places=10, allow_nan=False, allow_infinity=False)
clocks = st.integers(0, 47).map(lambda half: f"{half // 2:02}:{half % 2 * 30:02}")


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    kinds: list[RuleKind] = ["fixed", "per-use", "tiered", "time-based"]
    kind = draw(st.sampled_from(kinds))
    if kind == "tiered":
        bounds = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
        return rule("tiered", tiers=[Tier(up_to_hours=bound, rate=draw(rates)) for bound in [*bounds, None]])
    if kind == "time-based":
        start, end = draw(clocks), draw(clocks)
        days = sorted(draw(st.sets(st.integers(1, 7))))
        return rule(
            "time-based", rate=draw(rates), windows=[TimeWindow(start=start, end=end, rate=draw(rates), days=days)]
        )
    return rule(kind, rate=draw(rates))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Run], list[Term]]:
    """Runs that do not overlap, and the terms of a subscription or two, with gaps and overlaps."""
    runs, moment = list[Run](), MONDAY - 20 * DAY
    for number in range(draw(st.integers(1, 7))):
        moment += draw(st.integers(0, 5 * DAY))
        length = draw(st.one_of(st.integers(0, 5 * HOUR), st.integers(0, 9 * DAY)))
        runs.append(run(moment, length, number))
        moment += length
    terms = list[Term]()
    for number in range(draw(st.integers(0, 4))):
        begins = MONDAY + draw(st.integers(-25, 10)) * DAY + draw(st.integers(0, DAY))
        ends = draw(st.sampled_from([FOR_EVER, begins + 3 * DAY, begins + 17 * DAY, begins]))
        included = draw(st.integers(0, 80)) * HOUR
        terms.append(Term(begins, ends, UUID(int=number % 2), begins, "USD", included, RULE))
    return runs, terms


@settings(max_examples=150, deadline=None)
@given(histories(), tariffs(), st.randoms())
def test_no_second_is_lost_or_doubled_and_no_order_of_facts_matters(
    history: tuple[list[Run], list[Term]], price: Tariff, chance: object
) -> None:
    runs, terms = history
    parts = rate(runs, terms, {RULE: [price]})
    by_run: defaultdict[UUID, list[Part]] = defaultdict(list)
    for part in parts:
        by_run[part.run_id].append(part)
        assert part.start < part.end
        assert part.start // DAY == (part.end - 1) // DAY
    for ran in runs:
        ours = by_run[ran.run_id]
        assert sum(part.end - part.start for part in ours) == ran.end - ran.start
        if ours:
            assert (ours[0].start, ours[-1].end) == (ran.start, ran.end)
        assert all(before.end == after.start for before, after in pairwise(ours))
    chance.shuffle(runs)  # type: ignore[attr-defined]
    chance.shuffle(terms)  # type: ignore[attr-defined]
    assert rate(runs, terms, {RULE: [price]}) == parts


@settings(max_examples=150, deadline=None)
@given(histories(), tariffs())
def test_each_part_costs_what_a_plain_reckoning_of_its_seconds_says(
    history: tuple[list[Run], list[Term]], price: Tariff
) -> None:
    """Second by second would be slow: hour by hour, and what a part says of itself is held against that."""
    runs, terms = history
    included: defaultdict[tuple[UUID, int], int] = defaultdict(int)
    held = timeline(terms)
    for part in rate(runs, terms, {RULE: [price]}):
        there = [one for one in held if one[0] <= part.start]
        assert part.term == (there[-1][1] if there else None)
        if part.included:
            assert part.term is not None
            assert part.worth == 0
            included[part.term.subscription_id, part.term.period_start] += part.end - part.start
            assert included[part.term.subscription_id, part.term.period_start] <= part.term.included
        if price.kind in ("tiered", "time-based") and not part.included and part.term:
            assert part.worth == part.rate * (part.end - part.start)
        elif part.worth:
            assert part.worth == price.rate * HOUR


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200 * HOUR), st.integers(0, 200 * HOUR), tariffs())
def test_who_runs_longer_never_pays_less(seconds: int, more: int, price: Tariff) -> None:
    fewer = rate([run(MONDAY, seconds)], [term(included=3 * HOUR)], {RULE: [price]})
    longer = rate([run(MONDAY, seconds + more)], [term(included=3 * HOUR)], {RULE: [price]})
    assert cost(fewer) <= cost(longer)
