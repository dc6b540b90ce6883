"""What the app service's handlers stand on."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Cursors, Database, Reply, idempotent, request_hash

from .checking import Checks
from .platforms import Templates
from .storage import Storage
from .uploads import Rules

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]


class Store(msgspec.Struct, frozen=True):
    """`now` gives the present time in UTC."""

    database: Database
    core: CoreClients
    cursors: Cursors
    storage: Storage
    checks: Checks
    templates: Templates
    rules: Rules
    now: Callable[[], datetime]


Stand = NamedDependency[Store]
Who = NamedDependency[Caller]


async def once(
    request: Request[Any, Any, Any],
    store: Store,
    caller: Caller,
    key: str | None,
    make: Callable[[AsyncSession], Awaitable[Reply]],
) -> Response[Any]:
    """The answer of `make`, once per Idempotency-Key."""
    same = request_hash(caller.id, request.method, request.url.path, await request.body())
    return (await idempotent(store.database, caller.tenant_id, key, same, make)).response()
