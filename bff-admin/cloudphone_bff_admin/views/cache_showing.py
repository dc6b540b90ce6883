"""Which cached views show an entity: the walk over all entries in Redis, a stretch per request."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Cache, RedisAway
from cloudphone_cache.showing import CursorGone, Showing
from cloudphone_shared.errors import Invalid, Unavailable
from cloudphone_shared.http.problems import problems

from ..staff import overseer

_SECONDS = 2.0

Entity = Annotated[str, QueryParameter(name="entity", min_length=3, max_length=200, description="As in `device:<id>`")]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", max_length=200, description="`nextCursor` of the stretch before")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="Stop once so many views are found")]


@get("/admin/cache/showing", tags=["cache"], guards=[overseer("cache:read")], responses=problems())
async def list_showing(
    cache: NamedDependency[Cache], entity: Entity, cursor: Cursor = None, limit: Limit = 100
) -> Showing:
    """Which cached views show an entity, and at which version.

    There is no index, so the entries are walked through: two seconds of it per request, resting in between. `scanned`
    of about `total` keys were looked at in this stretch; while `nextCursor` is not null there are more. A view that is
    stored during the walk may be missed, and one may be named twice.
    """
    try:
        return await cache.desk.showing(entity, cursor=cursor, limit=limit, within=_SECONDS)
    except CursorGone as error:
        raise Invalid(str(error)) from None
    except RedisAway as error:
        raise Unavailable("redis", str(error)) from None
