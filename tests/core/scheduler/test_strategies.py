"""Whose turn it is: shares to within one, whatever comes and goes."""

from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from tests.core.scheduler.conftest import World

pytestmark = pytest.mark.anyio


async def taken(world: World, count: int, **fields: object) -> list[str]:
    return [(await world.placed(**fields))["nodeId"] for _ in range(count)]


def apart(chosen: list[str], nodes: list[UUID]) -> int:
    counts = Counter({str(node): 0 for node in nodes})
    counts.update(chosen)
    return max(counts.values()) - min(counts.values())


async def test_round_robin_is_fair_to_within_one_after_every_choice(world: World) -> None:
    nodes = [await world.node() for _ in range(4)]
    for node in nodes:
        await world.phones(node, 6)
    chosen: list[str] = []
    for step in range(20):
        chosen += await taken(world, 1)
        if step == 6:
            nodes.append(await world.node())
            await world.phones(nodes[-1], 6)
            chosen = []
        assert apart(chosen, nodes) <= 1


async def test_a_node_that_was_away_does_not_make_up_for_it(world: World) -> None:
    near, far = await world.node("near"), await world.node("far", alive=False)
    await world.phones(near, 12)
    await world.phones(far, 12)
    assert set(await taken(world, 6)) == {str(near)}
    await world.rows("UPDATE scheduler.nodes SET health = 'online', last_heartbeat_at = now()")
    chosen = await taken(world, 8)
    assert 4 <= Counter(chosen)[str(far)] <= 5
    assert all(one != other for one, other in pairwise(chosen[1:]))


async def test_weighted_round_robin_gives_each_its_share_smoothly(world: World) -> None:
    weights = {5: await world.node("a", weight=5), 2: await world.node("b", weight=2), 1: await world.node("c")}
    for node in weights.values():
        await world.phones(node, 12)
    chosen = await taken(world, 16, strategy="weighted_round_robin")
    for step in range(1, len(chosen) + 1):
        counts = Counter(chosen[:step])
        for weight, node in weights.items():
            assert abs(counts[str(node)] - step * weight / 8) <= 1, (step, counts)
    assert Counter(chosen) == {str(node): 2 * weight for weight, node in weights.items()}


async def test_least_connection_takes_the_node_with_the_fewest_allocations(world: World) -> None:
    nodes = [await world.node(str(n)) for n in range(3)]
    for node, count in zip(nodes, (8, 4, 2), strict=True):
        await world.phones(node, count)
    chosen = await taken(world, 14, strategy="least_connection")
    assert apart(chosen[:6], nodes) == 0
    assert Counter(chosen) == {str(node): count for node, count in zip(nodes, (8, 4, 2), strict=True)}


async def test_different_wishes_do_not_disturb_each_others_turns(world: World) -> None:
    west = [await world.node(region="us") for _ in range(2)]
    east = [await world.node(region="eu") for _ in range(3)]
    for node in (*west, *east):
        await world.phones(node, 5)
    in_west: list[str] = []
    in_east: list[str] = []
    for _ in range(6):
        in_west += await taken(world, 1, constraints={"region": "us"})
        in_east += await taken(world, 1, constraints={"region": "eu"})
        assert apart(in_west, west) <= 1
        assert apart(in_east, east) <= 1


async def test_every_constraint_holds(world: World) -> None:
    plain, gpu = await world.node("plain", labels={"rack": "1"}), await world.node("gpu", labels={"gpu": "yes"})
    [beside] = await world.phones(plain)
    await world.phones(plain, 2)
    arm, intel = UUID(int=1), UUID(int=2)
    await world.rows(
        "INSERT INTO scheduler.templates VALUES (:a, 1, '{arm64-v8a}', false), (:b, 1, '{x86_64,x86}', false)"
        " ON CONFLICT DO NOTHING",
        a=arm,
        b=intel,
    )
    [of_arm] = await world.phones(gpu, template=arm)
    [of_intel] = await world.phones(gpu, template=intel)

    async def given(**constraints: object) -> str:
        return (await world.placed(constraints=constraints))["deviceId"]

    assert await given(abi="x86") == str(of_intel)
    assert await given(templateId=arm) == str(of_arm)
    assert (await world.allocate(constraints={"abi": "arm64-v8a"})).status_code == 409
    assert (await world.allocate(constraints={"labels": {"gpu": "yes"}})).status_code == 409
    assert (await world.allocate(constraints={"apartFromDeviceId": beside})).status_code == 409
    assert (await world.allocate(constraints={"nearDeviceId": of_arm})).status_code == 409
    near = await world.placed(constraints={"nearDeviceId": beside, "labels": {"rack": "1"}})
    assert near["nodeId"] == str(plain)
    assert (await world.placed(constraints={"apartFromDeviceId": of_arm}))["nodeId"] == str(plain)


async def test_a_node_is_not_given_more_than_its_capacity(world: World) -> None:
    node = await world.node(capacity=2)
    await world.phones(node, 3)
    await taken(world, 2)
    refusal = (await world.allocate()).json()
    assert refusal["nodes"][0]["reasons"] == ["its capacity of 2 is allocated"]
