"""What billing's handlers share: what they stand on, and how they answer."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.database import Database
from cloudphone_shared.database.idempotency import Reply, idempotent, request_hash
from cloudphone_shared.database.pagination import Cursors
from cloudphone_shared.errors import Forbidden, Invalid
from cloudphone_shared.http.preconditions import etag

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]
UserId = Annotated[UUID | None, QueryParameter(name="userId")]
TenantId = Annotated[UUID | None, QueryParameter(name="tenantId")]


class Billing(msgspec.Struct, frozen=True):
    """What the handlers stand on. `now` gives the present time in UTC; above `adjustment_limit` minor units two people
    decide."""

    database: Database
    core: CoreClients
    cursors: Cursors
    now: Callable[[], datetime]
    adjustment_limit: int


Stand = NamedDependency[Billing]
Who = NamedDependency[Caller]


async def once(
    request: Request[Any, Any, Any],
    billing: Billing,
    caller: Caller,
    key: str | None,
    make: Callable[[AsyncSession], Awaitable[Reply]],
) -> Response[Any]:
    same = request_hash(caller.id, request.method, request.url.path, await request.body())
    return (await idempotent(billing.database, caller.tenant_id, key, same, make)).response()


def with_versions(announced: dict[str, int], answer: Answer[Any]) -> Answer[Any]:
    """What the write changed beside what it answers with, such as a collection: its caller's next read shows it."""
    return msgspec.structs.replace(answer, entities={**answer.entities, **announced})


def created(place: str, answer: Answer[Any]) -> Reply:
    return Reply.of(answer, headers={"Location": place, "ETag": etag(answer.data.version)})


def tagged(answer: Answer[Any]) -> Response[Any]:
    return Response(answer, headers={"ETag": etag(answer.data.version)})


def own_id(caller: Caller) -> UUID:
    try:
        return UUID(caller.id)
    except ValueError:
        raise Invalid("A service has no things of its own: name the user") from None


def sees_all(caller: Caller) -> None:
    if caller.data_scope != "all":
        raise Forbidden("Several at once are for who sees all tenants")
