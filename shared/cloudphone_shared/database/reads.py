"""Reads that are one statement: its own snapshot, asked without a transaction and without the ORM.

A statement begins FROM `asked()`, so that every id asked for has a row, with the version of its entity, whether the
thing is there or not. Asking for one and asking for a hundred is the same statement.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from ..contracts.common import Answer, Many

T = TypeVar("T")
Row = Mapping[str, Any]
Entities = Mapping[str, int]

_DIALECT = asyncpg_dialect()

asked = sa.func.unnest(sa.bindparam("ids", type_=ARRAY(sa.Uuid()))).table_valued(
    sa.column("id", sa.Uuid()), name="asked"
).render_derived()  # fmt: skip
"""The ids asked for, the parameter `ids`: `asked.c.id`."""


class Statement:
    """A SELECT, compiled once. For `Database.rows`, with its parameters by name."""

    def __init__(self, select: sa.SelectBase) -> None:
        compiled = select.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: list[str] = list(compiled.positiontup or ())
        self._constants: dict[str, Any] = {
            name: value for name, value in compiled.params.items() if name not in _open(compiled)
        }

    def arguments(self, parameters: Mapping[str, object]) -> list[object]:
        """In the order of the statement's placeholders. Raises KeyError for one that is not given."""
        constants = self._constants
        return [constants[name] if name in constants else parameters[name] for name in self._names]


def _open(compiled: sa.Compiled) -> set[str]:
    binds: Mapping[str, sa.BindParameter[Any]] = getattr(compiled, "binds", {})
    return {name for name, bind in binds.items() if bind.required}


def version_of(
    metadata: sa.MetaData, spell: Callable[[str], str], key: InstrumentedAttribute[Any] | ColumnElement[Any]
) -> ColumnElement[int]:
    """The version of the entity that `spell` names by `key`, in the statement's snapshot; 0 for one never heard of."""
    known = metadata.tables[f"{metadata.schema}.entity_versions"]
    entity = sa.literal(spell(""), sa.Text()).op("||")(sa.cast(key, sa.Text()))
    found = sa.select(known.c.version).where(known.c.entity == entity).scalar_subquery()
    return sa.func.coalesce(found, 0)


def columns(row: type[Any], names: Iterable[str], prefix: str = "") -> list[ColumnElement[Any]]:
    """A table's columns by name, labelled with `prefix`."""
    return [getattr(row, name).label(prefix + name) for name in names]


def row_of_each(
    row: type[DeclarativeBase], names: Iterable[str], spell: Callable[[str], str], present: ColumnElement[bool]
) -> Statement:
    """Each id `asked`, the `version` of the entity that `spell` names by it, and the columns of the row that is there.

    `present` says which row that is.
    """
    version = version_of(row.metadata, spell, asked.c.id).label("version")
    return Statement(
        sa.select(asked.c.id.label("asked"), version, *columns(row, names)).select_from(asked).outerjoin(row, present)
    )


def many(found: Mapping[UUID, Answer[T]], absent: Mapping[UUID, dict[str, int]]) -> Answer[Many[T]]:
    """A batch answer: every item has its own versions."""
    items = {str(key): answer for key, answer in found.items()}
    return Answer(data=Many(found=items, absent={str(key): shown for key, shown in absent.items()}), entities={})
