"""What every list takes."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """`sort` is a field name, with a minus before it for descending; `filters` go into the query as they are.

    `limit` 1 to 100; `cursor` from the page before; `search` looks in the fields that the owner searches.
    """

    limit: int = 20
    cursor: str | None = None
    sort: str | None = None
    search: str | None = None
    filters: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def params(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in self.filters.items() if value is not None},
            "limit": self.limit,
            "cursor": self.cursor,
            "sort": self.sort,
            "search": self.search,
        }
