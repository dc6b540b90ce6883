"""The state table: whatever is asked in whatever order, only its transitions happen."""

import uuid
from itertools import pairwise
from typing import Any, cast, get_args
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.device.seed import SeedDevice, SeedOwner, SeedTemplate, seed
from cloudphone_core.device.states import TRANSITIONS, check_transition
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.errors import StateConflict
from cloudphone_shared.ids import uuid7
from tests.core.device.conftest import NOW, World

STATES: tuple[DeviceState, ...] = get_args(DeviceState)
ACTS = ("assign", "unassign", "maintenance", "idle", "rename", "delete")
OWNED = frozenset(STATES) - {"creating", "idle", "maintenance", "deleted"}

# What the domain's document says, spelt once more: the table must not drift by accident.
DOCUMENT = """
creating: idle error
idle: allocated deleting maintenance
allocated: starting cleaning deleting
starting: running error stopping
running: stopping rebooting resetting error
stopping: stopped error
stopped: starting resetting backing_up restoring cleaning deleting frozen
rebooting: running stopped error
resetting: running stopped error
backing_up: stopped error
restoring: stopped error
frozen: stopped cleaning deleting
cleaning: idle error
maintenance: idle deleting
error: cleaning stopping starting deleting
deleting: deleted error
deleted:
"""


def test_the_table_is_the_one_of_the_domain() -> None:
    said = {line.split(":")[0]: frozenset(line.split(":")[1].split()) for line in DOCUMENT.strip().splitlines()}
    assert said == TRANSITIONS
    assert set(TRANSITIONS) == set(STATES)


@pytest.mark.parametrize("current", STATES)
def test_every_other_transition_is_refused_with_what_would_have_been_possible(current: DeviceState) -> None:
    for to in STATES:
        if to in TRANSITIONS[current]:
            check_transition(current, to)
        else:
            with pytest.raises(StateConflict) as refused:
                check_transition(current, to)
            assert refused.value.members == {"current_state": current, "allowed": sorted(TRANSITIONS[current])}


async def planted(world: World, state: DeviceState, owner: SeedOwner | None) -> UUID:
    """A device in any state, as if a life had brought it there."""
    template = SeedTemplate(
        id=uuid7(),
        name=uuid.uuid4().hex,
        android_version="14",
        cpu_cores=1,
        memory_mib=512,
        storage_gib=8,
        created_at=NOW,
    )
    device = SeedDevice(
        id=uuid7(),
        tenant_id=world.tenant,
        name="Phone",
        template_id=template.id,
        created_at=NOW,
        updated_at=NOW,
        state=state,
        owner=owner,
    )
    await seed(world.database, nodes=[], templates=[template], devices=[device])
    return device.id


async def log_of(world: World, device_id: UUID) -> list[tuple[str | None, str]]:
    async with world.database.reading() as session:
        rows = await session.execute(
            sa.text("SELECT from_state, to_state FROM device.device_state_log WHERE device_id = :id ORDER BY id"),
            {"id": device_id},
        )
        return [(before, after) for before, after in rows]


async def announced(world: World, device_id: UUID) -> list[tuple[str, str]]:
    async with world.database.reading() as session:
        rows = await session.execute(
            sa.text(
                "SELECT payload ->> 'oldStatus', payload ->> 'newStatus' FROM device.outbox"
                " WHERE type = 'device.status.changed' AND payload ->> 'deviceId' = :id ORDER BY id"
            ),
            {"id": str(device_id)},
        )
        return [(before, after) for before, after in rows]


@pytest.mark.anyio
@given(
    start=st.sampled_from([state for state in STATES if state != "deleted"]),
    acts=st.lists(st.sampled_from(ACTS), min_size=1, max_size=6),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_only_transitions_of_the_table_happen_and_each_is_logged_and_announced(
    world: World, start: DeviceState, acts: list[str]
) -> None:
    ana = world.users.user(world.tenant)
    owner = SeedOwner(id=ana.id, name=ana.name, email=ana.email, version=ana.version) if start in OWNED else None
    device_id = await planted(world, start, owner)
    planted_log = await log_of(world, device_id)
    state = start
    for act in acts:
        state = await tried(world, device_id, act, ana.id, state)

    log = await log_of(world, device_id)
    lived = log[len(planted_log) :]
    for before, after in log:
        assert before is None or after in TRANSITIONS[cast(DeviceState, before)]
    assert all(one[1] == following[0] for one, following in pairwise(log))
    assert log[-1][1] == state
    assert await announced(world, device_id) == lived


async def tried(world: World, device_id: UUID, act: str, owner_id: UUID, state: DeviceState) -> DeviceState:
    """Asks for `act`; the state after it, which is the one before where it was refused."""
    path = f"/v1/devices/{device_id}"
    if act == "delete":
        answer = await world.ask("DELETE", path)
    elif act == "rename":
        answer = await world.ask("PATCH", path, {"name": uuid.uuid4().hex})
    else:
        answer = await world.ask("POST", f"{path}/{act}", {"ownerId": owner_id} if act == "assign" else None)
    told: dict[str, Any] = answer.json()
    if state == "deleted":
        assert answer.status_code == 404
        return state
    if answer.status_code == 409:
        assert (told["current_state"], told["allowed"]) == (state, sorted(TRANSITIONS[state]))
        return state
    assert answer.status_code == 200, answer.text
    return "deleted" if act == "delete" else told["data"]["state"]
