"""The judgement: staleness counts from commit to request, a label is held against what could be read by then."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_deploy.consistency.oracle import History, Oracle, Row
from cloudphone_deploy.consistency.probes import Seen
from cloudphone_deploy.consistency.showing import Reader, moment
from cloudphone_deploy.consistency.verdict import BOUNDS, Incident, Tally, Verdict, nines

NOWHERE = dict.fromkeys(("user", "device", "billing"), "")


class Court:
    """A verdict on one entity, `u1`, whose changes were committed at the given moments and visible so much later."""

    def __init__(self, *commits: float, visible: float = 0.0, allowed: float = 1.0) -> None:
        self.oracle = Oracle(NOWHERE)
        self.history = self.oracle.history("u1")
        for number, at in enumerate(commits):
            self.history.append(number, number + 1, at, at + visible)
        self.verdict = Verdict(self.oracle, allowed=allowed)

    def saw(
        self,
        number: int,
        sent: float,
        *,
        as_of: float = 0.0,
        labelled: bool = False,
        floor: Mapping[str, int] | None = None,
        foreign: frozenset[str] = frozenset(),
    ) -> None:
        showing = Reader(self.oracle).read(b'{"name":"checked-u1-%d"}' % number)
        seen = Seen(sent, sent + 0.01, as_of, labelled, "bff-admin", "/admin/users/1", b"", showing, floor, foreign)
        self.verdict.take(seen)
        self.verdict.judge(math.inf)

    def tally(self, *, fault: bool = False, labelled: bool = False) -> Tally:
        return self.verdict.tallies[fault, labelled]


def test_the_newest_name_is_not_stale() -> None:
    court = Court(0.0, 10.0)
    court.saw(1, 500.0)
    assert (court.tally().checks, court.tally().stale) == (1, [0, 0, 0, 0])


def test_a_name_is_stale_from_the_commit_of_the_next_to_the_request() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 12.0)
    assert court.tally().stale == [1, 1, 0, 0]
    assert court.verdict.stale_as_fresh == 1
    assert court.verdict.violations[0].staleness == pytest.approx(2.0)


def test_a_request_that_was_sent_before_the_commit_may_show_the_old_name() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 9.99)
    assert court.tally().worst == 0.0


def test_what_is_labelled_old_is_counted_apart_and_forgiven() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 100.0, labelled=True)
    assert court.tally(labelled=True).stale == [1, 1, 1, 1]
    assert court.tally().checks == court.verdict.stale_as_fresh == 0


def test_a_label_later_than_a_change_that_is_missing_is_false() -> None:
    court = Court(0.0, 10.0, visible=0.5)
    court.saw(0, 9.0, as_of=10.6)
    assert court.verdict.false_labels == 1
    assert court.verdict.violations[0].kind == "false label"


def test_a_label_within_the_moments_of_the_commit_is_noted_and_not_false() -> None:
    court = Court(0.0, 10.0, visible=0.5)
    court.saw(0, 9.0, as_of=10.3)
    assert (court.verdict.false_labels, court.verdict.within_commit) == (0, 1)


def test_even_a_degraded_answer_may_not_claim_too_much() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 12.0, as_of=11.0, labelled=True)
    assert court.verdict.false_labels == 1


def test_a_change_could_be_read_once_its_writer_had_an_answer() -> None:
    court = Court(0.0)
    court.history.answered(1, 10.2)
    court.history.append(1, 2, 10.0, 11.0)
    court.saw(0, 9.0, as_of=10.3)
    assert court.verdict.false_labels == 1


def test_a_view_may_not_show_anothers_name_even_a_fresh_one_of_a_degraded_answer() -> None:
    court = Court(0.0)
    court.saw(0, 10.0, labelled=True, foreign=frozenset({"u1"}))
    court.saw(0, 10.0, foreign=frozenset({"d1"}))
    assert (court.verdict.foreign, court.verdict.violations[0].kind) == (1, "another's")
    assert court.verdict.stale_as_fresh == court.verdict.false_labels == 0


def test_who_wrote_may_not_miss_the_own_write() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 10.1, floor={"u1": 1})
    assert court.verdict.missed_writes == 1


def test_who_saw_a_name_may_not_see_an_older_one() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 10.1, floor={"u1": 1, "d1": 3})
    assert court.verdict.went_back == 1


def test_what_said_that_it_may_be_old_breaks_no_promise_to_a_session() -> None:
    court = Court(0.0, 10.0)
    court.saw(0, 10.1, floor={"u1": 1}, labelled=True)
    assert court.verdict.missed_writes == 0


def test_a_name_that_a_restore_took_back_is_current_again() -> None:
    court = Court(0.0, 10.0, 20.0)
    court.history.restore([Row("u1", 0, 1, 0.0)], 30.0)
    court.oracle.generation += 1
    court.saw(0, 40.0)
    court.saw(2, 40.0)
    assert court.verdict.stale_as_fresh == 1
    assert court.verdict.violations[0].shown == 2


def test_what_was_never_committed_is_counted_as_unknown() -> None:
    court = Court(0.0)
    court.saw(7, 1.0)
    assert (court.verdict.unknown, court.tally().checks) == (1, 0)


def test_a_fault_counts_until_a_while_after_its_end() -> None:
    court = Court(0.0, 10.0)
    court.verdict.incidents = [Incident(name="kill-bff", target="bff-user", began=100.0, ended=102.0)]
    for sent in (99.0, 101.0, 106.0, 108.0):
        court.saw(1, sent)
    assert (court.tally(fault=True).checks, court.tally().checks) == (2, 2)


def test_nothing_is_judged_before_all_its_commits_are_known() -> None:
    court = Court(0.0)
    showing = Reader(court.oracle).read(b'{"name":"checked-u1-0"}')
    court.verdict.take(Seen(5.0, 5.1, 0.0, False, "bff-user", "/my/profile", b"", showing))
    court.verdict.judge(5.05)
    assert court.verdict.waiting == 1
    court.history.append(1, 2, 4.0, 4.0)
    court.oracle.generation += 1
    court.verdict.judge(5.2)
    assert court.tally().stale == [1, 1, 0, 0]


@given(
    steps=st.lists(st.floats(0.001, 20), min_size=1, max_size=8),
    reads=st.lists(st.tuples(st.integers(0, 7), st.floats(0, 200), st.floats(0, 200)), max_size=20),
)
def test_the_verdict_agrees_with_the_definition(steps: list[float], reads: list[tuple[int, float, float]]) -> None:
    commits = [sum(steps[: place + 1]) for place in range(len(steps))]
    court = Court(*commits)
    stale, false = [0] * len(BOUNDS), 0
    reads = [(number % len(commits), sent, as_of) for number, sent, as_of in reads]
    for number, sent, as_of in reads:
        court.saw(number, sent, as_of=as_of)
        newer = [at for at in commits[number + 1 :] if at < sent]
        staleness = sent - newer[0] if newer else 0.0
        stale = [count + (staleness >= bound) for count, bound in zip(stale, BOUNDS, strict=True)]
        false += any(at + 0.001 < as_of for at in commits[number + 1 :])
    assert court.tally().checks == len(reads)
    assert court.tally().stale == stale
    assert court.verdict.false_labels == false


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_nines_are_never_more_than_so_many_checks_support(stale: int, checks: int) -> None:
    found = nines(min(stale, checks), checks)
    assert found.nines is not None and found.supported is not None
    assert 0 <= found.nines <= found.supported <= max(0.0, math.log10(checks / 3)) + 1e-6


@pytest.mark.parametrize(
    ("stale", "checks", "expected"), [(0, 3_000_000, 6.0), (0, 2_999_999, 5.9), (3, 3_000_000, 6.0), (30, 300_000, 4.0)]
)
def test_k_nines_need_three_times_ten_to_the_k_checks(stale: int, checks: int, expected: float) -> None:
    assert nines(stale, checks).nines == expected


def test_without_checks_there_are_no_nines() -> None:
    assert nines(0, 0).nines is None


def test_percentiles_are_those_of_all_checks() -> None:
    tally = Tally(checks=990)
    for _ in range(10):
        tally.add(2.0)
    assert tally.percentile(0.5) == tally.percentile(0.98) == 0.0
    assert tally.percentile(0.995) == pytest.approx(2.0, rel=0.3)
    assert (tally + tally).checks == 2000
    assert (tally + tally).percentile(0.995) == tally.percentile(0.995)


def test_a_view_promises_nothing_of_an_owners_copy() -> None:
    body = b'{"device":{"name":"checked-d3-4","ownerName":"checked-u1-2"},"owner":{"name":"checked-u1-5"}}'
    assert Reader(Oracle(NOWHERE)).read(body).shown() == {"d3": 4, "u1": 5}


def test_times_are_read_as_they_are_written() -> None:
    assert moment(b"2026-01-31T12:00:01.250Z") == 1769860801.25


def test_a_history_learns_each_version_once() -> None:
    history, rows = History("d1"), [Row("d1", 0, 5, 1.0), Row("d1", 1, 6, 2.0)]
    assert history.learn(rows, 3.0)
    assert not history.learn(rows, 4.0)
    assert history.numbers == [0, 1]
