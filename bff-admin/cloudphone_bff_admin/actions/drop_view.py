"""Forgetting one cached view."""

from litestar import delete
from litestar.di import NamedDependency

from cloudphone_cache import Cache, RedisAway, RedisRefused
from cloudphone_shared.contracts import Contract
from cloudphone_shared.errors import NotFound, Unavailable
from cloudphone_shared.http.problems import problems

from ..staff import staff
from ..views.cache_state import ViewKey


class Dropped(Contract, frozen=True, kw_only=True):
    """`dropped`: there was an entry."""

    key: str
    dropped: bool


@delete("/admin/cache/view", status_code=200, tags=["cache"], guards=[staff("cache:manage")], responses=problems(404))
async def drop_view(cache: NamedDependency[Cache], key: ViewKey) -> Dropped:
    """Drops one view's entry; its next reader composes it."""
    if (found := cache.view_of(key)) is None:
        raise NotFound("No view has such a key")
    try:
        return Dropped(key=key, dropped=await cache.drop(*found))
    except (RedisAway, RedisRefused) as error:
        raise Unavailable("redis", str(error)) from None
