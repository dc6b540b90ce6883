"""What every list takes from its URL. The values are the owner's to judge; only their names are ours."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from ..clients.listing import Listing
from ..errors import FieldError, Invalid

_COMMON = ("limit", "cursor", "sort", "search")


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Provided by `list_query`."""

    limit: int
    cursor: str | None
    sort: str | None
    search: str | None

    def listing(self, **filters: object) -> Listing:
        """`filters` by the names that their owner knows them by; those that are None are left out."""
        return Listing(
            limit=self.limit,
            cursor=self.cursor,
            sort=self.sort,
            search=self.search,
            filters={name: _spelled(value) for name, value in filters.items() if value is not None},
        )


async def list_query(
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="Items per page")] = 20,
    cursor: Annotated[
        str | None, QueryParameter(max_length=2000, description="`nextCursor` of the page before")
    ] = None,
    sort: Annotated[str | None, QueryParameter(max_length=100, description="A field; `-` before it descends")] = None,
    search: Annotated[str | None, QueryParameter(max_length=100, description="Part of what the owner searches")] = None,
) -> ListQuery:
    return ListQuery(limit=limit, cursor=cursor, sort=sort, search=search)


def only_parameters(*names: str, paged: bool = True) -> Callable[..., Awaitable[None]]:
    """A guard: a misspelt filter would answer with everything."""
    known = frozenset((*names, *_COMMON)) if paged else frozenset(names)

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if unknown := sorted(set(connection.query_params) - known):
            errors = [FieldError(field=name, message="is no parameter of this list") for name in unknown]
            raise Invalid("The list has no such parameter", errors=errors)

    return guard


def _spelled(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
