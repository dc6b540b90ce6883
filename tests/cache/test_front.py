"""Proven hits in front of the app: answered with the limit counted in the same write; everything else is passed on."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from cloudphone_cache import Audience, Cache, HotRoute, HotViews
from cloudphone_cache.redis import RedisAway, pack
from cloudphone_cache.testing import BrokenStore
from tests.cache.library import Library, book_full, listening, new_cache, working
from tests.cache.test_degraded import ears
from tests.cache.test_reading import heard, settled

pytestmark = pytest.mark.anyio
BOOK = UUID(int=1)


class Porter:
    """Counts with INCR; the fourth request of a caller is one too many."""

    def __init__(self) -> None:
        self.replies: list[object] = []

    def identify(self, authorization: bytes) -> str | None:
        name = authorization.decode().removeprefix("Bearer ")
        return None if name == "stranger" else name

    def sees(self, caller: str, audience: Audience) -> bool:
        return caller in ("staff", audience.owner)

    def command(self, caller: str) -> tuple[bytes, bytes] | None:
        key = f"limit:{{{caller}}}".encode()
        return key, pack("INCR", key)

    def refusal(self, caller: str, reply: object) -> Any:
        self.replies.append(reply)
        return too_many if isinstance(reply, int) and reply > 3 else None

    def mark(self, scope: Any, caller: str) -> None:
        scope["counted"] = caller


async def too_many(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 429, "headers": []})


class App:
    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 299, "headers": []})


class Front:
    def __init__(self, cache: Cache) -> None:
        self.app = App()
        self.porter = Porter()
        route = HotRoute[str]("/books/{number}", cache.views["book:full"], lambda caller: caller != "visitor")
        self.front = HotViews(self.app, cache, self.porter, [route])

    async def get(self, path: str = f"/books/{BOOK}", who: str = "ana", method: str = "GET", **more: bytes) -> Any:
        headers = [(b"authorization", f"Bearer {who}".encode())]
        headers += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        await self.front(scope, None, send)
        return sent[0]


async def filled(cache: Cache, library: Library) -> None:
    await cache.read(cache.views["book:full"], {"number": BOOK}, lambda audience: True)
    await settled(cache)


async def test_a_hit_from_either_layer_is_answered_and_counted(any_redis: str, library: Library) -> None:
    library.shelve(BOOK)
    async with working(library, any_redis), new_cache(library, any_redis, book_full()) as cache:
        await listening(cache)
        await heard(cache, library)
        await filled(cache, library)
        front = Front(cache)
        near = await front.get()
        cache.local.clear()
        far = await front.get()
        assert (near["status"], far["status"]) == (200, 200)
        assert dict(near["headers"])[b"cache-status"] == b"cloudphone; hit; detail=l1"
        assert dict(far["headers"])[b"cache-status"] == b"cloudphone; hit; detail=l2"
        unchanged = await front.get(if_none_match=dict(near["headers"])[b"etag"])
        assert unchanged["status"] == 304
        assert front.porter.replies == [1, 2, 3]
        assert (await front.get())["status"] == 429
        assert not front.app.scopes


async def test_what_is_not_a_hit_is_passed_on_with_its_caller_counted(worked: str, library: Library) -> None:
    library.shelve(BOOK)
    async with new_cache(library, worked, book_full()) as cache:
        await listening(cache)
        front = Front(cache)
        assert (await front.get())["status"] == 299
        assert front.app.scopes[-1]["counted"] == "ana"
        await filled(cache, library)
        assert (await front.get(who="bob"))["status"] == 299
        assert front.app.scopes[-1]["counted"] == "bob"
        library.books.commit(f"book:{BOOK}", {"title": "Persuasion", "holder": "ana"})
        await heard(cache, library)
        assert (await front.get(who="staff"))["status"] == 299


@pytest.mark.parametrize(
    "request_",
    [
        {"who": "stranger"},
        {"who": "visitor"},
        {"path": f"/books/{str(BOOK).upper()}x"},
        {"path": "/books/"},
        {"path": "/shelves"},
        {"method": "POST"},
    ],
)
async def test_what_it_does_not_know_is_passed_on_uncounted(worked: str, library: Library, request_: Any) -> None:
    async with new_cache(library, worked, book_full()) as cache:
        front = Front(cache)
        assert (await front.get(**request_))["status"] == 299
        assert "counted" not in front.app.scopes[-1]
        assert not front.porter.replies


async def test_with_redis_away_the_door_counts_and_proven_views_are_served(library: Library) -> None:
    library.shelve(BOOK)
    store = BrokenStore(broken=False)
    async with new_cache(library, store, book_full()) as cache:
        ears(cache, library)
        await filled(cache, library)
        store.broken = True
        front = Front(cache)
        assert (await front.get())["status"] == 200
        cache.local.clear()
        assert (await front.get())["status"] == 299
        assert all(isinstance(reply, RedisAway) for reply in front.porter.replies)


async def test_a_change_heard_while_the_limiter_is_asked_is_not_overlooked(library: Library) -> None:
    library.shelve(BOOK)
    store = BrokenStore(broken=False)
    async with new_cache(library, store, book_full()) as cache:
        ears(cache, library)
        await filled(cache, library)
        front = Front(cache)

        async def slowly(key: bytes, packed: bytes) -> int:
            library.books.commit(f"book:{BOOK}", {"title": "Persuasion", "holder": "ana"})
            ears(cache, library)
            return 0

        store.ask = slowly
        assert (await front.get())["status"] == 299
        await asyncio.sleep(0)


async def test_a_token_makes_an_older_hit_pass(worked: str, library: Library) -> None:
    library.shelve(BOOK)
    async with new_cache(library, worked, book_full()) as cache:
        await listening(cache)
        await heard(cache, library)
        await filled(cache, library)
        front = Front(cache)
        assert (await front.get())["status"] == 200
        token = cache._freshness.sign({"books": {f"book:{BOOK}": library.books.versions[f"book:{BOOK}"] + 1}})
        assert (await front.get(cookie=f"a=b; fresh-after={token}".encode()))["status"] == 299
