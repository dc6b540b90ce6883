"""The database kit: sessions, entity versions, outbox and relay, inbox, idempotency keys, pages, migrations."""

from .changes import Change, Changes, changes_after, changes_route, changes_since
from .engine import Database
from .idempotency import IDEMPOTENCY_KEY, Reply, idempotent, request_hash
from .inbox import Busy, first_time
from .migrations import History, create_common_tables, current, differences, head, migrate, pending, upgrade
from .outbox import Announcement, announce, announce_all
from .pagination import DEFAULT_LIMIT, MAX_LIMIT, Cursors, Listing, Order, Sorts, check_limit, page, page_of_rows
from .relay import Relay
from .tables import SCHEMAS, base, common_tables
from .versions import INCARNATION_RAISED, bump, raise_incarnation, versions_of

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
    "create_common_tables",
    "current",
    "differences",
    "first_time",
    "head",
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
