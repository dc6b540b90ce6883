"""What runs rest on: each thing that was told of one."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from .models import RunEventRow


def note(
    session: AsyncSession, run_id: UUID, event_id: UUID | None, what: str, at: datetime, heard_at: datetime
) -> None:
    """Kept for who asks later what a run's charges rest on."""
    session.add(RunEventRow(run_id=run_id, event_id=event_id, type=what, at=at, heard_at=heard_at))
