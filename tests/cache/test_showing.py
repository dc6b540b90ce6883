"""Which cached views show an entity: a walk over every node's keys, in stretches."""

from typing import Any

import pytest

from cloudphone_cache import Cache
from cloudphone_cache.redis import parse
from cloudphone_cache.showing import CursorGone, Showing, showing
from tests.cache.library import Gone, Library, book_full, everybody, listening, new_cache, working
from tests.cache.test_reading import settled
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


async def walked(url: str, entity: str, **options: Any) -> list[Showing]:
    """Every stretch of a whole walk."""
    stretches = [await showing(parse(url), entity, **options)]
    while (cursor := stretches[-1].next_cursor) is not None:
        stretches.append(await showing(parse(url), entity, cursor=cursor, **options))
    return stretches


async def filled(cache: Cache, numbers: range) -> None:
    view = cache.views["book:full"]
    await eventually(lambda: cache.store.available)
    for number in numbers:
        await cache.read(view, {"number": number}, everybody)
    await settled(cache)


async def test_every_view_that_shows_it_is_found_on_every_node(any_redis: str, library: Library) -> None:
    for number in range(60):
        library.shelve(number, holder="ana" if number % 3 else "anatole")
    async with working(library, any_redis), new_cache(library, any_redis, name="admin") as cache:
        await listening(cache)
        await filled(cache, range(60))
        [whole] = await walked(any_redis, "person:ana", within=60.0, limit=10_000)
        assert {view.key for view in whole.views} == {f"book:full:{number}" for number in range(60) if number % 3}
        assert {view.version for view in whole.views} == {library.people.versions["person:ana"]}
        assert {view.hard_until - view.read_at for view in whole.views} == {3_900_000}
        assert 60 <= whole.scanned <= whole.total
        assert (await walked(any_redis, "person:an", within=60.0))[0].views == []


async def test_it_goes_on_where_a_stretch_ended(any_redis: str, library: Library) -> None:
    for number in range(200):
        library.shelve(number)
    async with working(library, any_redis), new_cache(library, any_redis) as cache:
        await listening(cache)
        await filled(cache, range(200))
        by_limit = await walked(any_redis, "person:ana", limit=1)
        by_time = await walked(any_redis, "person:ana", within=0.0)
        for stretches in (by_limit, by_time):
            assert len(stretches) > 1
            assert len({view.key for stretch in stretches for view in stretch.views}) == 200


async def test_a_long_header_is_read_whole_and_an_absence_is_found(worked: str, library: Library) -> None:
    library.shelve(1)
    for each in range(100):
        library.books.commit(f"chapter:{each}-{'x' * 40}", "")
    view = book_full()

    @view.segment
    async def loans(core: Library, number: str) -> list[str]:
        await core.books.ask(*[entity for entity in core.books.values if entity.startswith("chapter:")])
        return ["first"]

    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await filled(cache, range(1, 2))
        [stretch] = await walked(worked, f"chapter:99-{'x' * 40}", within=60.0)
        assert [(found.key, found.kind) for found in stretch.views] == [("book:full:1", "full")]
        with pytest.raises(Gone):
            await cache.read(view, {"number": 2}, everybody)
        await settled(cache)
        [stretch] = await walked(worked, "book:2", within=60.0)
        assert [(found.key, found.kind, found.version) for found in stretch.views] == [("book:full:2", "negative", 0)]


async def test_a_cursor_that_is_none_is_refused(redis_url: str) -> None:
    for cursor in ("", "rubbish", "k6FhAQ"):
        with pytest.raises(CursorGone):
            await showing(parse(redis_url), "book:1", cursor=cursor)
