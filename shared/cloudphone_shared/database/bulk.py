"""Many rows at once, by COPY: what a seed or an import needs."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase


async def copy_rows(session: AsyncSession, model: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts `rows`, all with the same keys, within the session's transaction. Columns left out get their defaults."""
    if not rows:
        return
    table = cast(sa.Table, model.__table__)
    columns = [table.columns[name] for name in rows[0]]
    # SQLAlchemy begins the transaction with the first statement of its own; a COPY beside it would commit by itself.
    await session.execute(sa.select(1))
    connection = await (await session.connection()).get_raw_connection()
    await connection.driver_connection.copy_records_to_table(  # pyright: ignore[reportOptionalMemberAccess]
        table.name,
        schema_name=table.schema,
        columns=[column.name for column in columns],
        records=[tuple(_value(column, row[column.key]) for column in columns) for row in rows],
    )


def _value(column: sa.Column[Any], value: Any) -> Any:
    if isinstance(column.type, sa.JSON) and value is not None:
        return msgspec.json.encode(value).decode()
    return value
