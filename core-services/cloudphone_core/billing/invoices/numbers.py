"""Numbers without gaps: a number is taken in the transaction that uses it, and goes back with it."""

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.invoice import InvoiceKind

from .models import InvoiceNumberRow


async def next_number(session: AsyncSession, tenant_id: UUID, kind: InvoiceKind, year: int) -> int:
    """The tenant's next of the year. Holds the counter's lock until the transaction ends: take it late."""
    first = insert(InvoiceNumberRow).values(tenant_id=tenant_id, kind=kind, year=year, last=1)
    counted = first.on_conflict_do_update(
        index_elements=[InvoiceNumberRow.tenant_id, InvoiceNumberRow.kind, InvoiceNumberRow.year],
        set_={"last": InvoiceNumberRow.last + 1},
    )
    return (await session.execute(counted.returning(InvoiceNumberRow.last))).scalar_one()
