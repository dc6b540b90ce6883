"""The usage that a customer is to be invoiced for, and what a line of it rests on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from .lines import Used


async def used_by(session: AsyncSession, user_id: UUID, until: datetime) -> list[Used]:
    """Usage that was over by `until` and is on no invoice, per device and rule. Nobody else invoices it before the
    transaction ends."""
    return []


async def put_on_lines(session: AsyncSession, invoice_id: UUID, charge_ids: Mapping[int, Sequence[int]]) -> None:
    """Charges that `used_by` gave, by the number of their line. Raises Conflict where one is on an invoice already."""
