"""Lists of views: one MGET, what is missing composed in batches, and no card for who may not see it."""

import msgspec
import pytest

from cloudphone_cache.testing import MemoryStore
from tests.cache.library import Down, Library, body, book_full, everybody, listening, new_cache, only, working
from tests.cache.test_degraded import ears
from tests.cache.test_reading import heard, settled

pytestmark = pytest.mark.anyio


def titles(cards: list) -> list[str | None]:
    return [card and msgspec.json.decode(card)["book"]["title"] for card in cards]


def numbers(*which: int) -> list[dict[str, int]]:
    return [{"number": number} for number in which]


async def test_what_is_missing_is_asked_for_in_one_batch_per_segment(any_redis: str, library: Library) -> None:
    view = book_full()
    for number in range(8):
        library.shelve(number, f"title {number}", "ana" if number % 2 else "bob")
    async with working(library, any_redis), new_cache(library, any_redis, view) as cache:
        await listening(cache)
        await heard(cache, library)
        await cache.read(view, {"number": 3}, everybody)
        asked = library.books.asked, library.people.asked
        cards = await cache.read_many(view, numbers(*range(8), 404), everybody)
        assert titles(cards) == [*(f"title {number}" for number in range(8)), None]
        # A batch of books, one of people; loans have no batch form and are asked with the books.
        assert (library.books.asked - asked[0], library.people.asked - asked[1]) == (1 + 8, 1)
        await settled(cache)
        cache.local.clear()
        again = await cache.read_many(view, numbers(*range(8), 404), everybody)
        assert titles(again) == titles(cards)
        assert library.books.asked == asked[0] + 9
        assert body(await cache.read(view, {"number": 5}, everybody))["heldBy"] == {"name": "Ana"}


async def test_a_card_of_somebody_else_is_left_out(library: Library) -> None:
    view = book_full()
    library.shelve(1, holder="ana")
    library.shelve(2, holder="bob")
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        assert titles(await cache.read_many(view, numbers(1, 2), only("bob"))) == [None, "Emma"]
        assert titles(await cache.read_many(view, numbers(1, 2), only("ana"))) == ["Emma", None]


async def test_only_the_changed_card_is_composed_again(library: Library) -> None:
    view = book_full()
    for number in (1, 2, 3):
        library.shelve(number)
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        await cache.read_many(view, numbers(1, 2, 3), everybody)
        asked = library.books.asked, library.people.asked
        library.books.commit("book:2", {"title": "Persuasion", "holder": "ana"})
        ears(cache, library)
        assert titles(await cache.read_many(view, numbers(1, 2, 3), everybody)) == ["Emma", "Persuasion", "Emma"]
        assert library.books.asked == asked[0] + 1


async def test_cards_without_their_service_show_what_was_or_null(library: Library) -> None:
    view = book_full()
    library.shelve(1)
    library.shelve(2)
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        await cache.read(view, {"number": 1}, everybody)
        library.people.commit("person:ana", {"name": "Anna"})
        library.people.down = True
        ears(cache, library)
        one, two = [msgspec.json.decode(c) for c in await cache.read_many(view, numbers(1, 2), everybody)]
        assert (one["heldBy"], two["heldBy"]) == ({"name": "Ana"}, None)
        assert one["degraded"][0]["field"] == two["degraded"][0]["field"] == "heldBy"
        library.books.down = True
        with pytest.raises(Down):
            await cache.read_many(view, numbers(3), everybody)


async def test_a_change_while_the_batch_is_asked_is_seen(library: Library) -> None:
    view = book_full()
    library.shelve(1)
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)

        def meanwhile() -> None:
            library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
            ears(cache, library)

        library.people.before_answer = meanwhile
        assert titles(await cache.read_many(view, numbers(1), everybody)) == ["Persuasion"]
