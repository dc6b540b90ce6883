"""The cache without the platform: the example runs as it stands, and an owner in memory announces for itself."""

import importlib.util
import runpy
from pathlib import Path

import pytest

from cloudphone_cache import Announcer
from cloudphone_cache.feed import stream_of
from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Library, new_cache
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
EXAMPLE = Path(__file__).parents[2] / "cache/examples/standalone.py"


async def test_the_example_hits_and_is_fresh_after_a_change(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    await runpy.run_path(str(EXAMPLE))["main"](redis_url)
    assert capsys.readouterr().out.splitlines() == [
        '{"book":{"title":"Emma"}}  cloudphone; fwd=miss; stored; detail=no-entry',
        '{"book":{"title":"Emma"}}  cloudphone; hit; detail=l1',
        '{"book":{"title":"Persuasion"}}  cloudphone; fwd=stale; stored; detail=not-proven',
        '{"book":{"title":"Persuasion"}}  cloudphone; hit; detail=l1',
    ]


def test_the_example_knows_nothing_of_the_platform() -> None:
    text = EXAMPLE.read_text()
    assert "cloudphone_shared" not in text and "platform" not in text
    assert importlib.util.find_spec("cloudphone_cache") is not None and "cloudphone_cache.platform" not in text


async def test_what_an_owner_announces_is_heard_and_a_restart_is_a_new_incarnation(
    any_redis: str, library: Library
) -> None:
    async with new_cache(library, any_redis) as cache:
        heard = cache.knowledge.services["books"]
        async with Announcer(any_redis, "books") as books:
            first = books.announce("book:1", "loans:1")
            await eventually(lambda: heard.latest == first and heard.as_of > 0)
            second = books.announce("book:1")
            await eventually(lambda: heard.latest["book:1"] == second["book:1"])
            assert books.versions("book:1", "book:2") == {**second, "book:2": 0}
        async with Announcer(any_redis, "books") as books:
            third = books.announce("book:2")
            await eventually(lambda: heard.latest == third)
            assert third["book:2"] > second["book:1"] and heard.since < third["book:2"]


async def test_a_stream_that_is_lost_is_written_anew_from_memory(redis_url: str, library: Library) -> None:
    async with Announcer(redis_url, "books", beat_seconds=0.05) as books, new_cache(library, redis_url) as cache:
        heard = cache.knowledge.services["books"]
        first = books.announce("book:1")
        await eventually(lambda: heard.latest == first)
        client = patient_client(parse(redis_url), read_timeout=60.0)
        await client.delete(stream_of("books"))
        second = books.announce("book:2")
        await eventually(lambda: heard.latest == {**first, **second})
        await client.aclose()
