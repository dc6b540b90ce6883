"""Many devices at once, as if they had long been there: nothing is announced, every entity has its first version."""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.device import DeviceState, NodeStatus, Provider
from cloudphone_shared.database import Database, bump, copy_rows

from .models import DeviceRow, DeviceRunRow, NodeRow, OwnerRow, StateLogRow, TemplateRow
from .states import TRANSITIONS


class SeedNode(msgspec.Struct, frozen=True, kw_only=True):
    """`capacity` in devices."""

    id: UUID
    name: str
    region: str
    capacity: int
    created_at: datetime
    status: NodeStatus = "online"
    weight: int = 1
    labels: dict[str, str] = {}


class SeedTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """`memory_mib` in MiB, `storage_gib` in GiB, screen in pixels."""

    id: UUID
    name: str
    android_version: str
    cpu_cores: int
    memory_mib: int
    storage_gib: int
    created_at: datetime
    width: int = 1080
    height: int = 1920
    dpi: int = 320


class SeedOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the device's tenant, at the `version` that the user service gives it."""

    id: UUID
    name: str
    email: str
    version: int


class SeedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is any but deleted; with an owner neither creating, idle nor maintenance, without one one of these.

    `run_id` and `started_at` belong to a device that runs. An ADB port is unique on its node.
    """

    id: UUID
    tenant_id: UUID
    name: str
    template_id: UUID
    created_at: datetime
    updated_at: datetime
    state: DeviceState = "idle"
    provider: Provider = "simulated"
    node_id: UUID | None = None
    owner: SeedOwner | None = None
    tags: list[str] = []
    adb_host: str | None = None
    adb_port: int | None = None
    run_id: UUID | None = None
    started_at: datetime | None = None


async def seed(
    database: Database,
    *,
    nodes: Sequence[SeedNode],
    templates: Sequence[SeedTemplate],
    devices: Sequence[SeedDevice],
) -> None:
    """In one transaction, into a schema that has none of them yet."""
    owners = {device.owner.id: device.owner for device in devices if device.owner}
    rows: list[tuple[type[Any], list[dict[str, Any]]]] = [
        (NodeRow, [msgspec.structs.asdict(node) for node in nodes]),
        (TemplateRow, [msgspec.structs.asdict(template) for template in templates]),
        (OwnerRow, [{**msgspec.structs.asdict(owner), "deleted": False} for owner in owners.values()]),
        (DeviceRow, [_device(device) for device in devices]),
        (DeviceRunRow, [_run(device) for device in devices if device.run_id]),
        (StateLogRow, [step for device in devices for step in _life(device)]),
    ]
    async with database.writing() as session:
        for table, values in rows:
            await copy_rows(session, table, values)
        await bump(session, *_entities(nodes, templates, devices, owners))


def _device(device: SeedDevice) -> dict[str, Any]:
    values = msgspec.structs.asdict(device)
    owner: SeedOwner | None = values.pop("owner")
    values.pop("started_at")
    return {
        **values,
        "owner_id": owner.id if owner else None,
        "owner_name": owner.name if owner else None,
        "owner_email": owner.email if owner else None,
        "desired_state": device.state,
        "generation": 1,
    }


def _run(device: SeedDevice) -> dict[str, Any]:
    started_at = device.started_at or device.updated_at
    return {
        "run_id": device.run_id,
        "device_id": device.id,
        "user_id": device.owner.id if device.owner else None,
        "started_at": started_at,
        "last_seen_at": max(started_at, device.updated_at),
    }


def _life(device: SeedDevice) -> Iterable[dict[str, Any]]:
    """The shortest way to the device's state, a minute a step, ending when it was last changed."""
    way = _way_to(device.state)
    before: DeviceState | None = None
    for n, state in enumerate(way):
        at = device.created_at
        if before is not None:
            at = max(at, device.updated_at - timedelta(minutes=len(way) - 1 - n))
        yield {
            "device_id": device.id,
            "from_state": before,
            "to_state": state,
            "reason": "created" if before is None else "demo data",
            "actor": "seed",
            "at": at,
        }
        before = state


@cache
def _way_to(wanted: DeviceState) -> Sequence[DeviceState]:
    """The shortest that meets no error; what is in error was running."""
    if wanted == "error":
        return [*_way_to("running"), "error"]
    ways: deque[list[DeviceState]] = deque([["creating"]])
    while ways:
        way = ways.popleft()
        if way[-1] == wanted:
            return way
        following = sorted(TRANSITIONS[way[-1]] - {"error", *way})
        ways.extend([*way, state] for state in following)
    raise ValueError(f"no way leads to {wanted}")


def _entities(
    nodes: Sequence[SeedNode],
    templates: Sequence[SeedTemplate],
    devices: Sequence[SeedDevice],
    owners: Iterable[UUID],
) -> list[str]:
    return [
        *(entities.node(node.id) for node in nodes),
        *(entities.template(template.id) for template in templates),
        *(entities.device(device.id) for device in devices),
        *(entities.devices_of(owner_id) for owner_id in owners),
    ]
