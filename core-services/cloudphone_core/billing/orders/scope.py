"""Whose rows a caller may see."""

from uuid import UUID

from sqlalchemy import ColumnElement, false

from cloudphone_shared.auth import Caller

from ..models import UsageRow
from .models import OrderRow, SubscriptionRow


def within_scope(
    caller: Caller, of: type[OrderRow] | type[UsageRow] | type[SubscriptionRow] = OrderRow
) -> list[ColumnElement[bool]]:
    """The rows that the caller may see."""
    if caller.data_scope == "all":
        return []
    try:
        return [
            of.tenant_id == UUID(caller.tenant_id) if caller.data_scope == "tenant" else of.user_id == UUID(caller.id)
        ]
    except ValueError:
        return [false()]
