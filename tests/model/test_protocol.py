"""The protocol holds in every interleaving; each of its parts, left out, is seen to be needed."""

import pytest

from tests.model.protocol import Model, Rules, Scope

HOLDS = {
    "three changes": (Scope(fills=2), Rules()),
    "three fills": (Scope(touches="aa", fills=3), Rules()),
    "trimmed": (Scope(trims=1), Rules()),
    "heartbeats, trimmed": (Scope(touches="ac", beats=1, trims=1), Rules()),
    "flushed": (Scope(touches="ac", flushes=1, beats=1, fills=1), Rules()),
    "restarted": (Scope(touches="ac", restarts=1, trims=1), Rules()),
    "restarted after a flush": (Scope(touches="ac", fills=1, restarts=1, flushes=1, beats=1), Rules()),
    "rolled back": (Scope(touches="aa", rollbacks=1, trims=1), Rules()),
    "lagging replica": (Scope(touches="aa", lag=1, restarts=1, trims=1), Rules()),
    "disordered worker": (Scope(touches="ac", beats=1), Rules(ordered=False)),
    "restored from a backup": (Scope(touches="aca", fills=1, restores=1), Rules()),
    "the clock runs": (Scope(touches="a", fills=1, ticks=3, beats=2), Rules()),
    "a caller joins with a token": (Scope(touches="aa", tokens=1), Rules()),
}

FAILS = {
    "entries without position": (Scope(touches="ac", fills=1, trims=1), Rules(position=False)),
    "jumps that leave since alone": (Scope(touches="aca", trims=2), Rules(jumps=False)),
    "restarts that leave since alone": (Scope(touches="aca", restarts=1, trims=2), Rules(jumps=False)),
    "since left alone, disordered worker": (Scope(touches="aca"), Rules(jumps=False, ordered=False)),
    "since is one before a first heartbeat": (
        Scope(touches="ac", restarts=1, trims=2, beats=1),
        Rules(beat_begins_at_itself=False),
    ),
    "heartbeats appended like changes": (Scope(touches="aa", beats=1), Rules(beats_in_order=False)),
    "age by a heartbeat's arrival": (Scope(touches="a", fills=1, ticks=3, beats=2), Rules(age="arrival")),
    "no bound on the age": (Scope(touches="a", fills=1, ticks=3, beats=1), Rules(age="none")),
    "a replica's answer without its seq": (
        Scope(touches="aa", lag=1, fills=1, restarts=1, trims=2, beats=1),
        Rules(answer_seq=False),
    ),
    "no incarnation": (Scope(touches="aca", fills=1, restores=1), Rules(incarnation=False)),
    "joined fills not checked again": (Scope(touches="a", fills=1, tokens=1), Rules(joined_checked=False)),
    "delete on event": (Scope(touches="a", fills=1), Rules(delete=True)),
}


@pytest.mark.parametrize("name", HOLDS)
def test_it_holds_in_every_interleaving(name: str) -> None:
    result = Model(*HOLDS[name]).explore()
    assert result.violation is None, "\n".join((*result.trail, result.violation or ""))
    assert result.states > 100


@pytest.mark.parametrize("name", FAILS)
def test_without_one_of_its_parts_it_is_seen_to_fail(name: str) -> None:
    result = Model(*FAILS[name]).explore()
    assert result.violation is not None, f"{result.states} states and no violation"
    assert result.trail
