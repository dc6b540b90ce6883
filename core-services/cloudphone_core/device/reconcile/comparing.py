"""What does not agree. A pure comparison: whoever repairs looks again, for the world goes on meanwhile."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.phone import Finding

from ..providers.port import DEVICE, Container, Volume

ON = ("booting", "running")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the database has it. `busy`: something is being done with it, and nothing of it is judged.

    `served`: it stands on a node that this process looks after, so that its container must be among those it sees.
    """

    id: UUID
    state: DeviceState
    desired_state: DeviceState
    run_id: UUID | None
    container_id: str | None
    volume_name: str | None
    address: tuple[str, int] | None
    busy: bool
    served: bool


class Grace(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds: how old a container or a volume must be to be missed by nobody; and a volume, to be removed."""

    container: float = 600.0
    volume: float = 86_400.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not agree, in words; `old` for a volume that nobody has claimed for long enough."""

    kind: Finding
    subject: str
    detail: str
    row: Row | None = None
    container: Container | None = None
    volume: Volume | None = None
    old: bool = False

    @property
    def device_id(self) -> UUID | None:
        if self.row is not None:
            return self.row.id
        labelled = self.container or self.volume
        return device_of(labelled.labels.get(DEVICE)) if labelled else None


def compare(
    rows: Sequence[Row],
    containers: Sequence[Container],
    volumes: Sequence[Volume],
    snapshots: Collection[str],
    now: datetime,
    grace: Grace,
) -> Iterator[Case]:
    """`containers` and `volumes` are ours alone; `snapshots` are the names of volumes that snapshots are."""
    by_device = {row.id: row for row in rows}
    by_id = {container.id: container for container in containers}
    by_volume = {container.volume: container for container in containers}
    for container in containers:
        row = by_device.get(device_of(container.labels.get(DEVICE)) or UUID(int=0))
        if not _claimed(container, row) and _age(container.created_at, now) >= timedelta(seconds=grace.container):
            detail = "its device is gone" if row is None else f"its device is {row.state} and has another one or none"
            yield Case(kind="container_without_row", subject=container.name, detail=detail, container=container)
    for row in rows:
        if row.busy or not row.served:
            continue
        container = by_id.get(row.container_id or "") or by_volume.get(row.volume_name or "")
        yield from _absent(row) if container is None else _different(row, container)
    named = {row.volume_name for row in rows} | set(snapshots) | {container.volume for container in containers}
    for volume in volumes:
        row = by_device.get(device_of(volume.labels.get(DEVICE)) or UUID(int=0))
        age = _age(volume.created_at, now)
        if volume.name in named or (row is not None and row.busy) or age < timedelta(seconds=grace.container):
            continue
        old = age >= timedelta(seconds=grace.volume)
        detail = "no device and no snapshot has it"
        yield Case(kind="volume_without_row", subject=volume.name, detail=detail, volume=volume, old=old)


def device_of(label: str | None) -> UUID | None:
    try:
        return UUID(label or "")
    except ValueError:
        return None


def _claimed(container: Container, row: Row | None) -> bool:
    if row is None:
        return False
    return row.busy or row.container_id == container.id or row.volume_name == container.volume


def _age(created_at: datetime | None, now: datetime) -> timedelta:
    """What does not say when it was made was made long ago."""
    return now - created_at if created_at is not None else timedelta.max


def _absent(row: Row) -> Iterator[Case]:
    """A device that was only made up, as sample data, may be said to run and has never had a container."""
    if row.container_id is not None:
        detail = f"the device is {row.state}, and its container {row.container_id} is gone"
        yield Case(kind="row_without_container", subject=str(row.id), detail=detail, row=row)


def _different(row: Row, container: Container) -> Iterator[Case]:
    subject, on = str(row.id), container.state in ON
    if row.state == "running" and container.state == "crashed":
        detail = "the device runs, and its phone has crashed"
        yield Case(kind="crashed", subject=subject, detail=detail, row=row, container=container)
    elif row.state == "running" and not on:
        detail = "the device runs, and its phone is off"
        yield Case(kind="state_differs", subject=subject, detail=detail, row=row, container=container)
    elif row.state == "running" and container.address is not None and container.address != row.address:
        detail = "the phone listens elsewhere"
        yield Case(kind="address_differs", subject=subject, detail=detail, row=row, container=container)
    elif on and row.state != "running" and (row.state, row.desired_state) != ("error", "running"):
        detail = f"the device is {row.state}, and its phone is on"
        yield Case(kind="state_differs", subject=subject, detail=detail, row=row, container=container)
