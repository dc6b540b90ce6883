"""What the scheduler knows of the fleet, whatever becomes of the news; and which nodes it takes for alive."""

from itertools import permutations
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cloudphone_core.scheduler import inventory
from cloudphone_core.scheduler.health import Watch, note_heartbeat
from cloudphone_shared.contracts.device import Node
from cloudphone_shared.events.device import DeviceCreated, DeviceDeleted, DeviceStatusChanged, NodeChanged
from cloudphone_shared.events.scheduler import NodeOffline, NodeOnline
from cloudphone_shared.ids import uuid7
from tests.core.scheduler.conftest import REPORT, World
from tests.core.scheduler.fleet import Fleet
from tests.signing import Signer

pytestmark = pytest.mark.anyio


async def state_of(world: World, device_id: UUID) -> str:
    return (await world.rows("SELECT state FROM scheduler.devices WHERE id = :id", id=device_id))[0][0]


def status(device_id: UUID, state: str) -> DeviceStatusChanged:
    return DeviceStatusChanged(
        device_id=device_id, tenant_id=uuid7(), user_id=None, old_status="", new_status=state, reason=""
    )


async def test_the_latest_state_stays_in_whatever_order_and_however_often_news_come(world: World) -> None:
    """Two states of one version, as a use case that cleans at once announces them, are told apart by their number."""
    story = [("allocated", 1, 1), ("cleaning", 2, 2), ("idle", 2, 3), ("maintenance", 3, 4)]
    for order in permutations(range(4)):
        phone, version = uuid7(), world.newer() * 10
        for n in (*order, *order):
            state, ahead, seq = story[n]
            await world.hear(status(phone, state), version + ahead, seq)
        assert await state_of(world, phone) == "maintenance"
    await world.hear(DeviceDeleted(device_id=phone, tenant_id=uuid7()), version + 4, 5)
    await world.hear(status(phone, "idle"), version + 2, 3)
    assert await state_of(world, phone) == "deleted"


async def test_what_was_heard_of_but_is_not_known_is_asked_for(world: World, signer: Signer) -> None:
    fleet = Fleet()
    node_id = await world.node("new", alive=False)
    [phone] = await world.phones(node_id)
    device = world.devices[phone]
    for table in ("devices", "nodes", "sites"):
        await world.rows(f"DELETE FROM scheduler.{table}")
    fleet.devices[str(phone)] = device
    fleet.nodes[str(node_id)] = node(node_id, version=world.newer())
    await world.hear(status(phone, "idle"), device.version - 1, 1)
    await world.hear(DeviceCreated(device_id=phone, tenant_id=world.tenant, name="Pixel"), device.version - 2)
    await world.hear(NodeChanged(node_id=node_id, status="online", changed=["created"]))
    async with world.database.writing() as session:
        await note_heartbeat(session, node_id, REPORT)
    assert (await world.allocate()).status_code == 409

    async with fleet.clients(signer) as core:
        assert await inventory.look_up(world.database, core) == 2
        assert await inventory.look_up(world.database, core) == 0

    assert (await world.placed())["deviceId"] == str(phone)


async def test_a_whole_reading_finds_what_no_news_told_of(world: World, signer: Signer) -> None:
    fleet = Fleet()
    nodes = [await world.node(str(n)) for n in range(3)]
    phones = [(await world.phones(each))[0] for each in nodes for _ in range(2)]
    fleet.nodes = {str(each): node(each, version=world.newer()) for each in nodes[1:]}
    for phone in phones[2:]:
        newer = msgspec.structs.replace(world.devices[phone], state="running", version=world.newer())
        fleet.devices[str(phone)] = newer
    unheard = world._device(nodes[1], world.tenant, uuid7())
    fleet.devices[str(unheard.id)] = unheard

    async with fleet.clients(signer) as core:
        await inventory.synchronize(world.database, core)

    assert {await state_of(world, phone) for phone in phones[:2]} == {"deleted"}
    assert {await state_of(world, phone) for phone in phones[2:]} == {"running"}
    assert [each["name"] for each in await world.got("/v1/scheduler/nodes")] == [str(nodes[1]), str(nodes[2])]
    assert (await world.placed())["deviceId"] == str(unheard.id)


def node(node_id: UUID, **fields: Any) -> Node:
    told = {"name": str(node_id), "region": "eu", "status": "online", "capacity": 9, "weight": 1, "labels": {}}
    return Node(id=node_id, **{**told, "last_heartbeat_at": None, **fields})


async def test_a_silent_node_is_offline_until_it_reports(world: World) -> None:
    alive, silent = await world.node("alive"), await world.node("silent")
    await world.phones(silent)
    await ago(world, silent, 31)
    watch = Watch(30.0, monotonic=lambda: 0.0)
    assert await sweep(world, watch) == [silent]
    assert await sweep(world, watch) == []
    assert [each.node_id for each in await world.announced(NodeOffline)] == [silent]
    refusal = (await world.allocate()).json()
    assert "it is silent since" in str(refusal["nodes"])

    reported = await world.ask("POST", f"/v1/nodes/{silent}/heartbeat", REPORT, by=world.signer.service("device"))
    assert reported.status_code == 200
    assert (await world.ask("POST", f"/v1/nodes/{alive}/heartbeat", REPORT)).status_code == 403
    assert [each.node_id for each in await world.announced(NodeOnline)][-1] == silent
    assert (await world.placed())["nodeId"] == str(silent)
    shown = {each["nodeId"]: each for each in await world.got("/v1/scheduler/nodes")}
    assert (shown[str(silent)]["live"], shown[str(silent)]["idle"], shown[str(silent)]["health"]) == (1, 0, "online")


async def test_a_databases_clock_that_jumps_takes_no_node_offline(world: World) -> None:
    node_id = await world.node()
    ours = 0.0
    watch = Watch(30.0, monotonic=lambda: ours)
    assert await sweep(world, watch) == []
    # As the sweep sees it, the database's clock stood still while ours went on: one of them has jumped.
    ours = 3600.0
    await ago(world, node_id, 3600)
    assert await sweep(world, watch) == []
    await ago(world, node_id, 0)
    ours += 31
    assert await sweep(world, watch) == [], "it has reported since"
    await ago(world, node_id, -3600)
    assert await sweep(world, watch) == []
    late = "SELECT last_heartbeat_at > now() + interval '5 seconds' FROM scheduler.nodes"
    assert (await world.rows(late))[0][0] is False, "no heartbeat is kept in the future"


async def ago(world: World, node_id: UUID, seconds: float) -> None:
    past = "UPDATE scheduler.nodes SET last_heartbeat_at = now() - make_interval(secs => :s) WHERE id = :id"
    await world.rows(past, id=node_id, s=float(seconds))


async def sweep(world: World, watch: Watch) -> list[UUID]:
    async with world.database.writing() as session:
        return await watch.sweep(session)
