"""Fresh-After: the writer, and whoever brings the token along, sees the change through every process at once."""

import asyncio

import pytest

from cloudphone_cache import Cache, observed, token_headers, token_in
from cloudphone_cache.freshness import LIFE_SECONDS, MOST_ENTITIES, Freshness
from cloudphone_cache.testing import Clock, MemoryStore
from tests.cache.library import Library, body, book_full, everybody, new_cache
from tests.cache.test_degraded import ears
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


async def rename(cache: Cache, library: Library, title: str) -> str:
    """A write through this process, as a service client reports it."""
    with cache.write() as written:
        version = library.books.commit("book:1", {"title": title, "holder": "ana"})
        observed("books", {"book:1": version}, None)
    assert written.token is not None
    return written.token


@pytest.fixture
def processes(library: Library) -> list[Cache]:
    library.shelve(1)
    store = MemoryStore()
    caches = [new_cache(library, store, book_full()) for _ in range(2)]
    for cache in caches:
        ears(cache, library)
    return caches


async def title(cache: Cache, token: str | None = None) -> str:
    served = await cache.read(cache.views["book:full"], {"number": 1}, everybody, fresh_after=token)
    return body(served)["book"]["title"]


async def test_the_writer_sees_its_change_before_the_event_arrives(processes: list[Cache], library: Library) -> None:
    here, there = processes
    assert await title(here) == await title(there) == "Emma"
    token = await rename(here, library, "Persuasion")
    assert await title(here) == "Persuasion"
    assert await title(there, token) == "Persuasion"


async def test_without_the_token_another_process_may_be_behind(processes: list[Cache], library: Library) -> None:
    here, there = processes
    await title(there)
    await rename(here, library, "Persuasion")
    assert await title(there) == "Emma"


async def test_a_reader_who_brings_a_token_is_given_one_and_never_sees_an_older_state_elsewhere(
    processes: list[Cache], library: Library
) -> None:
    """Monotonic reads: the reader wrote nothing, and has only seen what this process had heard already."""
    here, there = processes
    await title(there)
    await rename(here, library, "Persuasion")
    served = await here.read(here.views["book:full"], {"number": 1}, everybody, fresh_after="")
    assert body(served)["book"]["title"] == "Persuasion"
    answer = here.remember(served, "", secure=False)
    assert served.header("fresh-after") is None
    assert await title(there) == "Emma"
    assert await title(there, answer.header("fresh-after")) == "Persuasion"


@pytest.mark.parametrize("off", [-3600, 3600])
async def test_a_process_whose_clock_is_wrong_honours_and_gives_tokens_like_any_other(
    library: Library, off: int
) -> None:
    library.shelve(1)
    store, clock = MemoryStore(), Clock()
    here, there = (new_cache(library, store, book_full(), clock=each) for each in (clock, Clock(clock() + off)))
    for cache in (here, there):
        ears(cache, library, now_ms=here.knowledge.now_ms())
    await title(here), await title(there)
    assert await title(there, await rename(here, library, "Persuasion")) == "Persuasion"
    assert await title(here, await rename(there, library, "Emma again")) == "Emma again"


async def test_who_joins_a_fill_with_a_newer_token_is_answered_anew(processes: list[Cache], library: Library) -> None:
    here, there = processes
    library.people.gate.clear()
    first = asyncio.create_task(title(there))
    await eventually(lambda: library.people.asked == 1)
    token = await rename(here, library, "Persuasion")
    second = asyncio.create_task(title(there, token))
    await asyncio.sleep(0)
    library.people.gate.set()
    assert await second == "Persuasion"
    await first


async def test_a_service_that_still_answers_older_is_labelled_and_not_stored(
    processes: list[Cache], library: Library
) -> None:
    cache, _ = processes
    library.books.freeze()
    token = await rename(cache, library, "Persuasion")
    served = await cache.read(cache.views["book:full"], {"number": 1}, everybody, fresh_after=token)
    assert body(served)["book"]["title"] == "Emma"
    assert served.header("cache-status") == "cloudphone; fwd=miss; detail=not-fresh"
    assert served.header("x-fresh-as-of") is None
    assert cache.local.get("book:full:1") is None
    assert library.books.asked == 3  # book and loans, then the book once more


def test_a_token_is_refused_when_forged_expired_or_rubbish() -> None:
    clock = Clock()
    ours, theirs = Freshness(b"ours", clock), Freshness(b"theirs", clock)
    token = ours.sign({"books": {"book:1": 7}})
    assert ours.read(token) == {"books": {"book:1": 7}}
    assert theirs.read(token) == {}
    assert ours.read(token[:-2]) == ours.read("ü" * 40) == ours.read("") == ours.read("x" * 100_000) == {}
    clock.move(LIFE_SECONDS + 1)
    assert ours.read(token) == {}


def test_a_token_holds_sixteen_entities_at_most() -> None:
    freshness = Freshness(b"key", Clock())
    token = freshness.sign({"books": {f"book:{n}": n + 1 for n in range(30)}, "people": {"person:1": 1}})
    assert sum(len(entities) for entities in freshness.read(token).values()) == MOST_ENTITIES
    assert len(token) < 1000


def test_a_second_write_carries_on_what_the_first_one_showed(library: Library) -> None:
    cache = new_cache(library, MemoryStore())
    with cache.write() as first:
        observed("books", {"book:1": 7}, None)
    with cache.write(first.token) as second:
        observed("people", {"person:ana": 3}, None)
    assert cache._freshness.read(second.token or "") == {"people": {"person:ana": 3}, "books": {"book:1": 7}}


def test_the_token_is_found_in_the_header_or_the_cookie() -> None:
    assert token_in([(b"cookie", b"a=b; fresh-after=xyz; c=d")]) == "xyz"
    assert token_in([(b"cookie", b"fresh-after=old"), (b"fresh-after", b"new")]) == "new"
    assert token_in([(b"accept", b"*/*")]) is None
    assert ("Set-Cookie", "fresh-after=t; Max-Age=60; Path=/; HttpOnly; SameSite=Strict; Secure") in token_headers(
        "t", secure=True
    )
