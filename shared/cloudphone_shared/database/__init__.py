"""The database kit: sessions, entity versions, outbox and relay, inbox, idempotency keys, pages, migrations."""

import importlib
from typing import TYPE_CHECKING, Any

from .bulk import copy_rows
from .changes import Change, Changes, changes_after, changes_route, changes_since
from .engine import Database
from .idempotency import IDEMPOTENCY_KEY, Reply, idempotent, request_hash
from .inbox import Busy, first_time
from .outbox import Announcement, announce, announce_all
from .pagination import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Cursors,
    Listing,
    Order,
    Sorts,
    check_limit,
    containing,
    equal,
    page,
    page_of_rows,
)
from .relay import Relay
from .tables import SCHEMAS, base, common_tables
from .versions import INCARNATION_RAISED, bump, holds_anything, raise_incarnation, versions_of

if TYPE_CHECKING:
    from .migrations import History, create_common_tables, current, differences, head, migrate, pending, upgrade

__all__ = [
    "DEFAULT_LIMIT",
    "IDEMPOTENCY_KEY",
    "INCARNATION_RAISED",
    "MAX_LIMIT",
    "SCHEMAS",
    "Announcement",
    "Busy",
    "Change",
    "Changes",
    "Cursors",
    "Database",
    "History",
    "Listing",
    "Order",
    "Relay",
    "Reply",
    "Sorts",
    "announce",
    "announce_all",
    "base",
    "bump",
    "changes_after",
    "changes_route",
    "changes_since",
    "check_limit",
    "common_tables",
    "containing",
    "copy_rows",
    "create_common_tables",
    "current",
    "differences",
    "equal",
    "first_time",
    "head",
    "holds_anything",
    "idempotent",
    "migrate",
    "page",
    "page_of_rows",
    "pending",
    "raise_incarnation",
    "request_hash",
    "upgrade",
    "versions_of",
]


def __getattr__(name: str) -> Any:
    # Alembic takes a quarter of a second to import, and only who migrates needs it.
    if name in ["History", "create_common_tables", "current", "differences", "head", "migrate", "pending", "upgrade"]:
        return getattr(importlib.import_module(".migrations", __name__), name)
    raise AttributeError(name)
