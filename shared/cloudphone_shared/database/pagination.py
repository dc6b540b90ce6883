"""Keyset pagination over any sort columns, with opaque signed cursors."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, QueryableAttribute
from sqlalchemy.sql.elements import ColumnElement

from ..errors import FieldError, Invalid, InvalidCursor

T = TypeVar("T")
MAX_LIMIT = 100
DEFAULT_LIMIT = 20
_SIGNATURE_BYTES = 16
_CURSOR_CHARACTERS = 4096

Column = ColumnElement[Any] | InstrumentedAttribute[Any] | QueryableAttribute[Any]


class Order(msgspec.Struct, frozen=True):
    """One sort column. As in PostgreSQL's own order, null counts as greater than any value."""

    column: Column
    descending: bool = False

    @property
    def nullable(self) -> bool:
        column = getattr(self.column, "expression", self.column)
        return not isinstance(column, sa.Column) or bool(column.nullable)

    def clause(self) -> ColumnElement[Any]:
        return cast(ColumnElement[Any], self.column.desc() if self.descending else self.column.asc())

    def equals(self, value: object) -> ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == value

    def follows(self, value: object) -> ColumnElement[bool]:
        """What comes strictly after `value` in this order."""
        # Bound, since SQLAlchemy compares true and false as constants, and those by equality alone.
        bound = sa.literal(value, self.column.type)
        if self.descending:
            return self.column.is_not(None) if value is None else self.column < bound
        if value is None:
            return sa.false()
        greater = self.column > bound
        return sa.or_(greater, self.column.is_(None)) if self.nullable else greater


class Sorts:
    """A list's sort columns by the names its callers know, such as `{"name": Row.name, "createdAt": Row.created_at}`.

    `tiebreak` is a unique column, never null. `default` is a sort as a caller would write it.
    """

    def __init__(self, columns: Mapping[str, Column], *, tiebreak: Column, default: str) -> None:
        self._columns = dict(columns)
        self._tiebreak = tiebreak
        self._default = default

    def parse(self, sort: str | None) -> list[Order]:
        """The order of `name,-createdAt` (`-` is descending), the tiebreak last. Raises Invalid."""
        orders: list[Order] = []
        for part in (sort or self._default).split(","):
            name = part.strip()
            column = self._columns.get(name.removeprefix("-"))
            if column is None or len(orders) == 3:
                allowed = ", ".join(self._columns)
                message = f"must be at most three of {allowed}, each with - in front for descending order"
                raise Invalid(f"sort {message}", errors=[FieldError(field="sort", message=message)])
            orders.append(Order(column, name.startswith("-")))
        return [*orders, Order(self._tiebreak, orders[-1].descending)]


class Cursors:
    """Signs and reads cursors with the installation's cursor key."""

    def __init__(self, key: str | bytes) -> None:
        self._key = key.encode() if isinstance(key, str) else key

    def encode(self, scope: str, values: Sequence[object]) -> str:
        payload = msgspec.json.encode(values)
        return base64.urlsafe_b64encode(self._sign(scope, payload) + payload).decode().rstrip("=")

    def decode(self, scope: str, cursor: str, types: Sequence[Any]) -> list[Any]:
        """The values that `encode` was given for the same `scope`. Raises InvalidCursor."""
        try:
            if len(cursor) > _CURSOR_CHARACTERS:
                raise ValueError
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(scope, payload)):
                raise ValueError
            values = msgspec.json.decode(payload, type=list[Any])
            return [
                None if value is None else msgspec.convert(value, kind, strict=False)
                for value, kind in zip(values, types, strict=True)
            ]
        except ValueError:
            raise InvalidCursor(errors=[FieldError(field="cursor", message="is not one of this list")]) from None

    def _sign(self, scope: str, payload: bytes) -> bytes:
        text = scope.encode(errors="surrogatepass")
        message = len(text).to_bytes(4, "big") + text + payload
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page's rows; `next_cursor` is None on the last page."""

    items: list[T]
    next_cursor: str | None


async def page(
    session: AsyncSession,
    statement: sa.Select[T],
    order: Sequence[Order],
    *,
    cursors: Cursors,
    scope: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Listing[T]:
    """One page of a statement that selects one thing, a mapped class or a column; `order` as `Sorts.parse` gives it.

    `scope` says which list this is: its name, filters and whose eyes it is for. A cursor is good for the same
    scope and order only. Raises Invalid for a limit out of 1 to 100, InvalidCursor.
    """
    listing = await page_of_rows(session, statement, order, cursors=cursors, scope=scope, cursor=cursor, limit=limit)
    return Listing(items=[row[0] for row in listing.items], next_cursor=listing.next_cursor)


async def page_of_rows(
    session: AsyncSession,
    statement: sa.Select[Any],
    order: Sequence[Order],
    *,
    cursors: Cursors,
    scope: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Listing[Any]:
    """Like `page`, for a statement of several columns: its rows, with the sort columns' values after them."""
    check_limit(limit)
    scope = f"{scope} by {' '.join(_spell(one) for one in order)}"
    if cursor is not None:
        statement = statement.where(_after(order, cursors.decode(scope, cursor, [_type(one) for one in order])))
    keys = [sa.type_coerce(one.column, one.column.type).label(f"sort_key_{n}") for n, one in enumerate(order)]
    ordered = statement.add_columns(*keys).order_by(*(one.clause() for one in order)).limit(limit + 1)
    rows = list((await session.execute(ordered)).all())
    if len(rows) <= limit:
        return Listing(items=rows, next_cursor=None)
    return Listing(items=rows[:limit], next_cursor=cursors.encode(scope, list(rows[limit - 1][-len(order) :])))


def equal(*wanted: tuple[Column, object]) -> list[ColumnElement[bool]]:
    """The filters of a list: each column as wanted. None asks for nothing."""
    return [column == value for column, value in wanted if value is not None]


def containing(text: str | None, *columns: Column) -> list[ColumnElement[bool]]:
    """The search of a list: the text is a part of one of the columns, whatever its case. None asks for nothing."""
    return [sa.or_(*(column.icontains(text, autoescape=True) for column in columns))] if text else []


def check_limit(limit: int) -> None:
    """Raises Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        message = f"must be between 1 and {MAX_LIMIT}"
        raise Invalid(f"limit {message}", errors=[FieldError(field="limit", message=message)])


def _after(order: Sequence[Order], values: Sequence[Any]) -> ColumnElement[bool]:
    if not any(one.nullable for one in order) and len({one.descending for one in order}) == 1:
        # One comparison of rows, which an index over the sort columns answers directly.
        columns = sa.tuple_(*(one.column for one in order))
        bound = sa.tuple_(
            *(sa.bindparam(None, value, one.column.type) for one, value in zip(order, values, strict=True))
        )
        return columns < bound if order[0].descending else columns > bound
    branches: list[ColumnElement[bool]] = []
    for n, one in enumerate(order):
        same = [other.equals(value) for other, value in zip(order[:n], values[:n], strict=True)]
        branches.append(sa.and_(*same, one.follows(values[n])))
    return sa.or_(*branches)


def _spell(order: Order) -> str:
    return f"{'-' if order.descending else ''}{order.column}"


def _type(order: Order) -> type[Any]:
    return order.column.type.python_type
