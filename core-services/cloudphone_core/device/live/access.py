"""Who may see or use a device's phone: its owner, staff within their data scope, and who was granted it for a time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.phone import Access
from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError, Forbidden, NotFound, StateConflict, Unavailable

from ..models import DeviceRow, GrantRow
from ..states import TRANSITIONS


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A device that the caller may see. `address`: of the adbd of its phone, None while there is none."""

    device_id: UUID
    state: DeviceState
    address: str | None
    last_seen_at: datetime | None

    def running(self) -> str:
        """The address. Raises StateConflict unless the device is running."""
        if self.state != "running":
            raise StateConflict(
                f"The device is {self.state}; only a running one has a phone that answers",
                current_state=self.state,
                allowed=sorted(TRANSITIONS[self.state]),
            )
        if self.address is None:
            raise Unavailable("phone", "its address is not known yet")
        return self.address


async def reach(database: Database, caller: Caller, device_id: UUID, access: Access) -> Reached:
    """Raises NotFound, and Forbidden for who was granted less than this access."""
    [found] = (await reach_all(database, caller, [device_id], access)).values()
    if isinstance(found, DomainError):
        raise found
    return found


async def reach_all(
    database: Database, caller: Caller, device_ids: Sequence[UUID], access: Access
) -> dict[UUID, Reached | DomainError]:
    """Each in its turn: the device, or why it is out of reach."""
    async with database.reading() as session:
        rows = await session.scalars(
            sa.select(DeviceRow).where(DeviceRow.id.in_(device_ids), DeviceRow.deleted_at.is_(None))
        )
        devices = {row.id: row for row in rows}
        strange = [row.id for row in devices.values() if not caller.sees(row.tenant_id, row.owner_id)]
        granted = await session.execute(_granted(caller, strange)) if strange and caller.kind == "user" else ()
        grants: dict[UUID, set[str]] = {}
        for device_id, given in granted:
            grants.setdefault(device_id, set()).add(given)
    found: dict[UUID, Reached | DomainError] = {}
    for device_id in dict.fromkeys(device_ids):
        row = devices.get(device_id)
        if row is None or (row.id in strange and row.id not in grants):
            found[device_id] = NotFound()
        elif row.id in strange and access == "control" and "control" not in grants[row.id]:
            found[device_id] = Forbidden("The device was shared to be seen, not to be used")
        else:
            found[device_id] = _reached(row)
    return found


def _granted(caller: Caller, device_ids: list[UUID]) -> sa.Select[UUID, Access]:
    """Only as long as the device belongs to who granted it."""
    return (
        sa.select(GrantRow.device_id, GrantRow.access)
        .join(DeviceRow, sa.and_(DeviceRow.id == GrantRow.device_id, DeviceRow.owner_id == GrantRow.owner_id))
        .where(
            GrantRow.user_id == UUID(caller.id),
            GrantRow.device_id.in_(device_ids),
            GrantRow.revoked_at.is_(None),
            GrantRow.until > datetime.now(UTC),
        )
    )


def _reached(row: DeviceRow) -> Reached:
    known = row.adb_host is not None and row.adb_port is not None
    return Reached(
        device_id=row.id,
        state=row.state,
        address=f"{row.adb_host}:{row.adb_port}" if known else None,
        last_seen_at=row.last_seen_at,
    )
