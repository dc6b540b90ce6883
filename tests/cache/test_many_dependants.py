"""A change costs the same whether one view shows the entity or a hundred thousand do."""

import pytest

from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Library, body, book_full, everybody, listening, new_cache
from tests.cache.test_costs import Counted, still
from tests.cache.test_reading import settled

pytestmark = pytest.mark.anyio
VIEWS = 100_000
_COPY = """
local entry = redis.call('GET', KEYS[1])
for number = ARGV[1], ARGV[2] do redis.call('SET', KEYS[1] .. number, entry, 'PX', 600000) end
"""


async def test_what_a_hundred_thousand_views_show_changes_at_the_cost_of_one(worked: str, library: Library) -> None:
    view = book_full()
    library.shelve(1)
    client = patient_client(parse(worked), read_timeout=60.0)
    async with new_cache(library, worked, view) as cache, new_cache(library, worked, view, l1_bytes=0) as other:
        await listening(cache)
        await listening(other)
        await cache.read(view, {"number": 1}, everybody)
        await settled(cache)
        for start in range(1, VIEWS, 10_000):
            await client.eval(_COPY, 1, "book:full:1", start, start + 9_999)
        assert await client.dbsize() > VIEWS
        await still(library, cache)
        counted = Counted(worked)
        await counted.since()
        asked = library.books.asked, library.people.asked
        library.people.commit("person:ana", {"name": "Anna"})
        await still(library, cache)
        await still(library, other)
        # One message, heard by all, and no command: nobody looks for the views that show it.
        assert await counted.since() == {}
        changes = [fields for _, fields in await client.xrange("{changes}:people") if b"person:ana" in fields]
        assert len(changes) == 2
        assert (library.books.asked, library.people.asked) == asked
        # Whichever of them is read shows it, and asks again for nothing but what changed.
        for number in ("11", "177777"):
            assert body(await other.read(view, {"number": number}, everybody))["heldBy"] == {"name": "Anna"}
        assert (library.books.asked, library.people.asked) == (asked[0], asked[1] + 2)
    await client.aclose()
