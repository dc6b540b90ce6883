"""Whose store an app is in: everybody's, or one tenant's."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, or_

from cloudphone_shared.auth import Caller

from .models import AppRow


def tenant_of(caller: Caller) -> UUID | None:
    """None for a caller of no tenant."""
    try:
        return UUID(caller.tenant_id)
    except ValueError:
        return None


def seen_by(caller: Caller) -> ColumnElement[bool]:
    """Who sees all tenants sees all; a tenant's staff its own apps and what is published to everybody; customers
    what is published to them."""
    if caller.data_scope == "all":
        return AppRow.deleted_at.is_(None)
    tenant_id = tenant_of(caller)
    own = false() if tenant_id is None else AppRow.tenant_id == tenant_id
    if caller.data_scope == "self":
        own = and_(own, AppRow.published)
    return and_(AppRow.deleted_at.is_(None), or_(own, and_(AppRow.tenant_id.is_(None), AppRow.published)))


def managed_by(caller: Caller) -> ColumnElement[bool]:
    """The apps of everybody's store belong to who sees all tenants."""
    if caller.data_scope == "all":
        return AppRow.deleted_at.is_(None)
    tenant_id = tenant_of(caller)
    own = false() if tenant_id is None or caller.data_scope == "self" else AppRow.tenant_id == tenant_id
    return and_(AppRow.deleted_at.is_(None), own)
