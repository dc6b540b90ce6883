"""What a process has heard, and what that proves. The properties are checked against an owner who knows the truth."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_cache.knowledge import INCARNATION, Knowledge
from cloudphone_cache.testing import Clock

FIRST = INCARNATION


class Shown:
    """An entry, as far as a proof is concerned."""

    def __init__(self, position: int, **versions: int) -> None:
        self.deps = {"s": (position, versions)}
        self.tick = 0
        self.watched = False


class Held:
    """Where an entry is held."""

    def __init__(self, entry: Shown) -> None:
        self.entry = entry


def knowledge(clock: Clock | None = None, **options: int) -> tuple[Knowledge, Clock]:
    clock = clock or Clock()
    known = Knowledge(["s"], clock=clock, **options)
    return known, clock


def beat(known: Knowledge, clock: Clock, seq: int, ago: float = 0.0) -> None:
    known.hear_beat("s", seq, int((clock() - ago) * 1000))


def test_nothing_is_proven_before_anything_was_heard() -> None:
    known, _ = knowledge()
    assert not known.proven(Shown(FIRST + 5, a=1))
    assert "nothing has been heard" in known.verdict(Shown(FIRST + 5, a=1).deps).reason


def test_an_entry_is_proven_until_a_newer_version_is_announced() -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 5)
    entry = Shown(FIRST + 5, a=3)
    assert known.proven(entry)
    known.hear_change("s", FIRST + 6, {"a": 3, "b": 9})
    assert known.proven(entry)
    known.hear_change("s", FIRST + 7, {"a": 4})
    assert not known.proven(entry)
    assert known.verdict(entry.deps).reason == "a has been announced at 4; the entry shows 3"


def test_an_entry_from_before_the_window_is_not_proven() -> None:
    known, clock = knowledge()
    known.hear_change("s", FIRST + 10, {"b": 1})
    beat(known, clock, FIRST + 10)
    assert known.proven(Shown(FIRST + 9, a=1))
    assert not known.proven(Shown(FIRST + 8, a=1))


def test_a_first_heartbeat_begins_the_window_at_itself() -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 10)
    assert not known.proven(Shown(FIRST + 9, a=1))
    assert known.proven(Shown(FIRST + 10, a=1))


@pytest.mark.parametrize("jump_by_beat", [True, False])
def test_a_hole_in_the_feed_moves_the_window_up(jump_by_beat: bool) -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 5)
    if jump_by_beat:
        beat(known, clock, FIRST + 8)
    else:
        known.hear_change("s", FIRST + 8, {"b": 1})
    assert not known.proven(Shown(FIRST + 5, a=1))
    assert known.proven(Shown(FIRST + 8, a=1))


def test_the_age_of_the_feed_is_that_of_its_last_heartbeat_not_of_its_arrival() -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 5, ago=1.9)
    entry = Shown(FIRST + 5, a=1)
    assert known.proven(entry)
    clock.move(0.2)
    assert not known.proven(entry)
    beat(known, clock, FIRST + 5, ago=3.0)
    assert not known.proven(entry)
    assert "s old; 2 s are allowed" in known.verdict(entry.deps).reason


def test_an_owners_clock_that_is_ahead_does_not_make_the_feed_younger() -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 5, ago=-4.0)
    entry = Shown(FIRST + 5, a=1)
    assert known.proven(entry)
    clock.move(2.1)
    assert not known.proven(entry)


def test_a_higher_incarnation_begins_anew() -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 5)
    known.hear_change("s", FIRST + 6, {"a": FIRST + 8})
    old = Shown(FIRST + 6, a=FIRST + 8)
    assert known.proven(old)
    known.hear_change("s", 2 * FIRST + 1, {"b": 2 * FIRST + 1})
    beat(known, clock, 2 * FIRST + 1)
    assert not known.proven(old)
    assert known.proven(Shown(2 * FIRST + 1, a=FIRST + 7))


def test_repeats_and_a_lost_timeline_change_nothing() -> None:
    known, clock = knowledge()
    known.hear_change("s", 2 * FIRST + 1, {"a": 5})
    beat(known, clock, 2 * FIRST + 1)
    known.hear_change("s", FIRST + 900, {"a": 99})
    known.hear_beat("s", FIRST + 900, int(clock() * 1000))
    known.hear_change("s", 2 * FIRST + 1, {"a": 5})
    assert known.services["s"].position == 2 * FIRST + 1
    assert known.proven(Shown(2 * FIRST + 1, a=5))


def test_what_is_forgotten_moves_the_window_up() -> None:
    known, clock = knowledge(remember=16)
    beat(known, clock, FIRST)
    for number in range(1, 41):
        known.hear_change("s", FIRST + number, {f"e{number}": number})
    beat(known, clock, FIRST + 40)
    heard = known.services["s"]
    assert len(heard.latest) <= 16
    forgotten = [n for n in range(1, 41) if f"e{n}" not in heard.latest]
    assert heard.since >= FIRST + max(forgotten)
    assert not known.proven(Shown(FIRST, e1=0))
    assert known.proven(Shown(FIRST + 40, e1=1))


def test_a_token_counts_at_once_and_survives_forgetting_its_repeat() -> None:
    known, clock = knowledge(remember=16)
    beat(known, clock, FIRST)
    known.merge("s", {"a": 7})
    assert not known.proven(Shown(FIRST, a=6))
    for number in range(1, 15):
        known.hear_change("s", FIRST + number, {f"e{number}": number})
    known.hear_change("s", FIRST + 15, {"a": 7})
    for number in range(16, 24):
        known.hear_change("s", FIRST + number, {f"e{number}": number})
    heard = known.services["s"]
    assert "a" in heard.latest or heard.since >= FIRST + 15


def test_a_watched_entry_once_proven_needs_no_second_look_until_it_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    known, clock = knowledge()
    beat(known, clock, FIRST + 1)
    entry = Shown(FIRST + 1, a=1)
    known.watch(Held(entry))
    assert known.proven(entry)
    monkeypatch.setattr(known, "holds", lambda deps, now: pytest.fail("looked again"))
    known.hear_change("s", FIRST + 2, {"b": 1})
    assert known.proven(entry)
    monkeypatch.undo()
    known.hear_change("s", FIRST + 3, {"a": 2})
    assert not known.proven(entry)


ENTITIES = "abc"
Step = tuple[str, int]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], list[Step]]:
    """What an owner changed, in order, and what becomes of its feed: heard, heard again, trimmed, lost, restarted."""
    touched = draw(st.lists(st.sampled_from(ENTITIES), min_size=1, max_size=8))
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["append", "beat", "trim", "flush", "hear", "again", "restart", "fill"]),
                st.integers(0, 9),
            ),
            max_size=40,
        )
    )
    return touched, steps


@given(histories(), st.sampled_from([2, 4, 1000]))
def test_whatever_happens_to_the_feed_nothing_older_than_heard_is_proven(
    history: tuple[list[str], list[Step]], remember: int
) -> None:
    touched, steps = history
    truth = list(itertools.accumulate(touched, lambda state, e: {**state, e: state.get(e, 0) + 1}, initial={}))
    clock = Clock()
    known = Knowledge(["s"], clock=clock, remember=remember)
    feed: list[tuple[int, bool]] = []
    last = read = 0
    entries: list[tuple[int, int]] = []
    for what, choice in steps:
        if what == "append" and last < len(touched):
            last += 1
            feed.append((last, False))
        elif what == "beat":
            feed.append((last, True))
        elif what == "trim":
            del feed[: choice % 3]
            read = max(0, read - choice % 3)
        elif what == "flush":
            feed, read = [], 0
        elif what in ("hear", "again"):
            start = max(0, read - 2) if what == "again" else read
            for number, is_beat in feed[start : read + 1 + choice]:
                if is_beat:
                    known.hear_beat("s", FIRST + number, int(clock() * 1000))
                else:
                    entity = touched[number - 1]
                    known.hear_change("s", FIRST + number, {entity: truth[number][entity]})
            read = min(len(feed), read + 1 + choice)
        elif what == "restart":
            known, read = Knowledge(["s"], clock=clock, remember=remember), 0
        elif what == "fill" and "s" in known.positions():
            # The owner answers with anything from what the filler had heard on.
            position = known.positions()["s"] - FIRST
            entries.append((position, min(len(touched), max(position, last - choice % 3))))
        position = known.services["s"].position - FIRST
        for begun, shown in entries:
            versions = {e: truth[shown].get(e, 0) for e in ENTITIES}
            if known.holds({"s": (FIRST + begun, versions)}, clock() * 1000):
                # G1: nothing that this process has passed is newer than what it would serve.
                assert all(truth[max(0, position)].get(e, 0) <= versions[e] for e in ENTITIES)
