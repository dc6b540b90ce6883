"""An entry as it is stored: read back as it was written, and with each entity named once."""

import pytest

from cloudphone_cache.entry import Part, State, assemble, load
from cloudphone_cache.view import NEVER, Audience
from tests.cache.library import book_full

NOW = 1_800_000_000_000
BASE = 3 * 10**12


def parts(person: State = State.GOOD) -> dict[str, Part]:
    """Segments read at different times and positions, one of them of an older version of what another shows."""
    books = {"book:1": BASE + 7, "shelf:1": 0}
    older = {"book:1": BASE + 6, "loans:1": 2 * 10**12 + 5}
    return {
        "book": Part("book", b'{"title":"Emma"}', NOW, {"books": (BASE + 40, books)}),
        "held_by": Part("held_by", b'{"name":"Ana"}', NOW + 3, {"people": (-1, {"person:ana": 4})}, state=person),
        "loans": Part("loans", b'["first"]', NOW + 5, {"books": (BASE + 38, older)}, until=NOW + 9_000, as_of=NOW - 7),
    }


@pytest.mark.parametrize("person", [State.GOOD, State.KEPT])
def test_what_was_stored_is_read_back(person: State) -> None:
    view = book_full()
    written = assemble(view, parts(person), Audience(owner="ana"), NOW + 6, 6)
    read = load(written.dump(), view.schema)
    assert read is not None
    for name in ("kind", "schema", "deps", "read_at", "until", "fresh_until", "hard_until", "cost_ms", "audience",
                 "as_of", "etag", "complete", "body"):  # fmt: skip
        assert getattr(read, name) == getattr(written, name), name
    for name, part in read.parts(view).items():
        before = parts(person)[name]
        assert (part.raw, part.read_at, part.deps, part.until, part.state) == (
            before.raw, before.read_at, before.deps, before.until, before.state,
        )  # fmt: skip
    assert read.parts(view)["book"].until == NEVER


def test_an_entity_is_named_once_however_many_segments_show_it() -> None:
    view = book_full()
    shown = {"books": (BASE, {"book:1": BASE + 1})}
    alike = {name: Part(name, b"null", NOW, shown) for name in ("book", "held_by", "loans")}
    assert assemble(view, alike, Audience(), NOW, 1).dump().count(b"book:1") == 1


def test_an_entry_of_another_form_is_not_read() -> None:
    view = book_full()
    stored = assemble(view, parts(), Audience(), NOW, 1).dump()
    assert load(stored, view.schema + 1) is None
    assert load(b"F\x00\x00\x00\x04junk{}", view.schema) is None
