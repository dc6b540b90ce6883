"""The declarative base of a service's schema, and the tables that every service has."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

INCARNATION = 10**12
"""Versions and change numbers are incarnation × INCARNATION + a counter; both stay below 2⁵³."""

SCHEMAS: Mapping[str, str] = {
    "user": "identity",
    "device": "device",
    "app": "app",
    "scheduler": "scheduler",
    "billing": "billing",
    "cache": "warmup",
}
"""Each service's PostgreSQL schema."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
_TYPES = {
    int: sa.BigInteger(),
    str: sa.Text(),
    datetime: sa.DateTime(timezone=True),
    UUID: sa.Uuid(),
    Decimal: sa.Numeric(),
    list[str]: ARRAY(sa.Text()),
    list[UUID]: ARRAY(sa.Uuid()),
    dict[str, str]: JSONB(),
    dict[str, Any]: JSONB(),
}


def base(schema: str) -> type[DeclarativeBase]:
    """A declarative base whose tables live in `schema`, the common ones among them.

    `int` is bigint, `str` text, `datetime` timestamptz, `dict` jsonb, `list[str]` text[].
    """

    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema=schema, naming_convention=NAMING)
        type_annotation_map = _TYPES

    common_tables(Base.metadata)
    return Base


def common_tables(metadata: sa.MetaData) -> None:
    """Adds outbox, inbox, entity_versions, idempotency_keys and service_state to `metadata`, in its schema."""
    _outbox(metadata)
    sa.Table(
        "inbox",
        metadata,
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        _at("processed_at", default=True, index=True),
    )
    sa.Table(
        "entity_versions",
        metadata,
        sa.Column("entity", sa.Text(collation="C"), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        _at("deleted_at", nullable=True),
    )
    sa.Table(
        "idempotency_keys",
        metadata,
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        _at("expires_at", index=True),
    )
    sa.Table(
        "service_state",
        metadata,
        sa.Column("single", sa.Boolean, primary_key=True, server_default=sa.true()),
        sa.Column("incarnation", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.CheckConstraint("single", name="one_row"),
    )


def _outbox(metadata: sa.MetaData) -> None:
    outbox = sa.Table(
        "outbox",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("seq", sa.BigInteger, unique=True),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("entities", JSONB, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        _at("created_at", default=True),
        _at("published_at", nullable=True, index=True),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    sa.Index("ix_outbox_unnumbered", outbox.c.id, postgresql_where=outbox.c.seq.is_(None))
    sa.Index("ix_outbox_unpublished", outbox.c.seq, postgresql_where=outbox.c.published_at.is_(None))


def _at(name: str, *, nullable: bool = False, default: bool = False, index: bool = False) -> sa.Column[datetime]:
    now = sa.func.clock_timestamp() if default else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=now, index=index)


def schema_of(session: AsyncSession) -> str:
    """The schema of the Database that opened `session`."""
    return session.info["schema"]


@cache
def in_schema(sql: str, schema: str) -> sa.TextClause:
    return sa.text(sql.replace("{schema}", schema))
