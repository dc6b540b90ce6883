"""What is held is watched: a change marks what it outdates, and whatever happens, a quick look never says more than
a full one."""

from hypothesis import given
from hypothesis import strategies as st

from cloudphone_cache.knowledge import INCARNATION, Knowledge
from cloudphone_cache.local import Local
from cloudphone_cache.testing import Clock

ENTITIES = [f"e{number}" for number in range(6)]


class Shown:
    """An entry, as far as holding and proving it is concerned."""

    def __init__(self, size: int, **deps: tuple[int, dict[str, int]]) -> None:
        self.size = size
        self.deps = deps
        self.tick = 0
        self.watched = False


def knowing(remember: int = 1000) -> tuple[Knowledge, Clock]:
    clock = Clock()
    known = Knowledge(["s", "t"], clock=clock, remember=remember)
    for service in ("s", "t"):
        known.hear_beat(service, INCARNATION, int(clock() * 1000))
    return known, clock


def watched_entities(known: Knowledge) -> int:
    return sum(len(heard.shown) for heard in known.services.values())


def test_a_change_marks_only_what_shows_the_entity_older() -> None:
    known, _ = knowing()
    local = Local(10_000, known)
    marked: list[str] = []
    known.on_marked = lambda place: marked.append(place.key)
    older, newer, other = (Shown(1, s=(INCARNATION, {e: v})) for e, v in (("e1", 1), ("e1", 2), ("e2", 1)))
    for key, entry in (("older", older), ("newer", newer), ("other", other)):
        local.put(key, entry)
        assert known.proven(local.get(key))
    known.hear_change("s", INCARNATION + 1, {"e1": 2})
    assert marked == ["older"]
    assert older.tick != known.era
    assert newer.tick == other.tick == known.era
    known.merge("s", {"e2": 5})
    assert marked == ["older", "other"]
    assert not known.proven(other)


def test_what_is_no_longer_held_is_looked_at_in_full() -> None:
    known, _ = knowing()
    local = Local(10_000, known)
    entry = Shown(1, s=(INCARNATION, {"e1": 1}))
    local.put("a", entry)
    assert known.proven(local.get("a"))
    local.drop("a")
    known.hear_change("s", INCARNATION + 1, {"e1": 2})
    assert not known.proven(entry)
    replaced = Shown(1, s=(INCARNATION + 1, {"e1": 2}))
    local.put("a", replaced)
    assert known.proven(local.get("a"))
    local.put("a", Shown(1, s=(INCARNATION + 1, {"e1": 2})))
    known.hear_change("s", INCARNATION + 2, {"e1": 3})
    assert not known.proven(replaced)


def test_what_very_many_show_costs_one_change() -> None:
    known, _ = knowing()
    local = Local(1_000_000, known)
    told: list[int] = []
    known.on_many_marked = lambda places: told.append(len(places))
    entries = [Shown(1, s=(INCARNATION, {"plan": 1, f"own{number}": 1})) for number in range(1000)]
    for number, entry in enumerate(entries):
        local.put(str(number), entry)
        assert known.proven(local.get(str(number)))
    known.hear_change("s", INCARNATION + 1, {"plan": 2})
    assert told == [1000]
    assert not any(known.proven(entry) for entry in entries)


def test_a_silent_service_concerns_those_only_that_show_something_of_it() -> None:
    known, clock = knowing()
    local = Local(1000, known)
    entry, mixed = Shown(1, s=(INCARNATION, {"e1": 1})), Shown(1, s=(INCARNATION, {"e1": 1}), t=(INCARNATION, {}))
    local.put("a", entry)
    local.put("b", mixed)
    assert known.proven(local.get("a"))
    assert known.proven(local.get("b"))
    clock.move(3)
    known.hear_beat("s", INCARNATION, int(clock() * 1000))
    assert known.proven(entry)
    assert not known.proven(mixed)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["change", "change", "change", "jump", "anew", "beat", "wait", "token", "put", "put", "get", "get", "drop"]
        ),
        st.integers(0, 5),
        st.integers(0, 30),
    ),
    min_size=30,
    max_size=60,
)


@given(STEPS, st.sampled_from([3, 16, 1000]))
def test_a_quick_look_says_what_a_full_one_would(steps: list[tuple[str, int, int]], remember: int) -> None:
    known, clock = knowing(remember)
    local = Local(400, known)
    seq, versions, everything = INCARNATION, dict.fromkeys(ENTITIES, 0), list[Shown]()
    for what, choice, more in steps:
        entity = ENTITIES[choice]
        if what in ("change", "jump", "anew"):
            seq = {"change": seq + 1, "jump": seq + 3, "anew": (seq // INCARNATION + 1) * INCARNATION + 1}[what]
            versions[entity] = max(versions[entity] + 1, seq // INCARNATION * INCARNATION)
            known.hear_change("s", seq, {entity: versions[entity]})
        elif what == "beat":
            known.hear_beat("s", seq, int(clock() * 1000))
            known.hear_beat("t", INCARNATION, int(clock() * 1000) - 700)
        elif what == "wait":
            clock.move(0.7)
        elif what == "token":
            versions[entity] += 1
            known.merge("s", {entity: versions[entity]})
        elif what == "put":
            shown = {e: max(0, versions[e] - (more % 2)) for e in ENTITIES[: choice + 1]}
            entry = Shown(20 + 10 * more, s=(seq - more % 3, shown), t=(INCARNATION, {entity: 0}))
            everything.append(entry)
            local.put(f"key{more % 7}", entry)
        elif what == "get":
            local.get(f"key{more % 7}")
        else:
            local.drop(f"key{more % 7}")
        for entry in everything:
            assert known.proven(entry) == known.holds(entry.deps, clock() * 1000)
            assert known.current(entry) == (not known.outdated(entry.deps))
    local.clear()
    assert watched_entities(known) == 0
    assert not any(entry.watched for entry in everything)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "get", "get", "drop", "again", "clear"]), st.integers(0, 40), st.integers(1, 90)
    ),
    max_size=150,
)


@given(ACTS)
def test_whatever_is_put_and_dropped_the_bytes_are_right_and_within_the_bound(acts: list[tuple[str, int, int]]) -> None:
    known, _ = knowing()
    local = Local(600, known)
    for act, number, more in acts:
        key = f"key{number}"
        if act == "put":
            local.put(key, Shown(10 * more, s=(INCARNATION, {f"e{number % 5}": 1, f"e{more % 7}": 1})))
        elif act == "again" and (entry := local.peek(key)) is not None:
            local.put(key, entry)
        elif act == "get":
            local.get(key)
        elif act == "drop":
            held = local.peek(key) is not None
            assert local.drop(key) == held
            assert local.peek(key) is None
        elif act == "clear" and number == 0:
            local.clear()
        places = local.places()
        assert local.bytes == sum(place.entry.size for place in places) <= 600
        assert local._trial_bytes == sum(place.bytes for place in local._trial.values())
        assert len({place.key for place in places}) == len(places) == len(local)
        shown = {entity for place in places if place.entry.watched for entity in place.entry.deps["s"][1]}
        assert set(known.services["s"].shown) == shown
        assert len(local._left) <= 60
    local.clear()
    assert local.bytes == watched_entities(known) == 0


def test_what_is_asked_for_stays_while_others_pass() -> None:
    known, _ = knowing()
    local = Local(1000, known)
    for number in range(5):
        local.put(f"hot{number}", Shown(10))
    for number in range(2000):
        local.put(f"once{number}", Shown(10))
        for hot in range(5):
            assert local.get(f"hot{hot}") is not None


def test_what_left_too_early_is_not_put_on_trial_again() -> None:
    known, _ = knowing()
    local = Local(1000, known)
    for number in range(101):
        local.put(f"key{number}", Shown(10))
    assert local.peek("key0") is None
    local.put("key0", Shown(10))
    assert "key0" in local._main
