"""A clean Redis of each kind, a library, and its feed worker."""

from collections.abc import AsyncIterator, Iterator

import pytest

from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Library, working
from tests.patience import patient_caches


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Modules in which things fail have one of their own, that changes nothing."""
    with patient_caches():
        yield


async def empty(url: str) -> None:
    client = patient_client(parse(url), read_timeout=60.0)
    try:
        await client.flushall()
    finally:
        await client.aclose()


@pytest.fixture(params=["valkey", "redis70", "redis_cluster"])
async def any_redis(request: pytest.FixtureRequest) -> str:
    """Each kind of Redis in turn, empty."""
    url = request.getfixturevalue(request.param).url
    await empty(url)
    return url


@pytest.fixture
async def redis_url(request: pytest.FixtureRequest) -> str:
    """One Redis, empty."""
    url = request.getfixturevalue("valkey").url
    await empty(url)
    return url


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.fixture
async def worked(library: Library, redis_url: str) -> AsyncIterator[str]:
    """The URL of a Redis into whose feed the library's changes are written."""
    async with working(library, redis_url):
        yield redis_url
