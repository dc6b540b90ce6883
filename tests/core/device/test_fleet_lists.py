"""Nodes and templates by page, filter, sort and search; a list says which version of the whole it is of."""

import pytest

from tests.core.device.conftest import World
from tests.core.device.test_fleet import TEMPLATE

pytestmark = pytest.mark.anyio


async def names(world: World, path: str) -> list[str]:
    """Those of all pages, one after the other."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = await world.ask("GET", path + cursor)
        assert answer.status_code == 200, answer.text
        page = answer.json()["data"]
        found += [each["name"] for each in page["items"]]
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


async def version(world: World, path: str, entity: str) -> int:
    return (await world.ask("GET", path)).json()["entities"][entity]


async def test_nodes_are_listed_by_page_filter_sort_and_part_of_the_name(world: World) -> None:
    for name, region, capacity in (("n1", "eu", 3), ("n2", "us", 1), ("n3", "eu", 2)):
        node = await world.node(name=f"{name} listed", region=region, capacity=capacity)
        if name == "n3":
            await world.ask("PATCH", f"/v1/nodes/{node['id']}", {"status": "draining"})

    async def order(query: str) -> str:
        return "".join(name[1] for name in await names(world, f"/v1/nodes?search=LISTED&{query}"))

    assert await order("limit=1") == "123"
    assert await order("limit=2&sort=-capacity") == "132"
    assert await order("region=eu") == "13"
    assert await order("region=eu&status=online") == "1"
    assert await names(world, "/v1/nodes?search=%25") == []


async def test_templates_are_listed_by_page_filter_sort_and_part_of_the_name(world: World) -> None:
    for name, android in (("t1", "14"), ("t2", "13"), ("t3", "14")):
        await world.made("/v1/templates", {**TEMPLATE, "name": f"{name} listed", "androidVersion": android})

    everything = "/v1/templates?search=listed"
    assert await names(world, f"{everything}&limit=2") == ["t1 listed", "t2 listed", "t3 listed"]
    assert await names(world, f"{everything}&sort=androidVersion,-name") == ["t2 listed", "t3 listed", "t1 listed"]
    assert await names(world, f"{everything}&androidVersion=14") == ["t1 listed", "t3 listed"]


@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/templates"])
@pytest.mark.parametrize("query", ["sort=labels", "limit=101", "cursor=x", "nmae=x"])
async def test_what_is_no_query_of_the_fleet_is_a_400(world: World, path: str, query: str) -> None:
    answer = await world.ask("GET", f"{path}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_whatever_may_change_a_list_of_the_fleet_raises_its_version(world: World) -> None:
    for path, entity, wanted, patch in (
        ("/v1/nodes", "nodes:all", {"name": "raising", "region": "eu", "capacity": 1}, {"status": "offline"}),
        ("/v1/templates", "templates:all", {**TEMPLATE, "name": "raising"}, {"name": "raised"}),
    ):
        seen = [await version(world, path, entity)]
        made = await world.made(path, wanted)
        seen.append(await version(world, path, entity))
        changed = await world.ask("PATCH", f"{path}/{made['id']}", patch)
        assert changed.status_code == 200
        seen.append(await version(world, path, entity))
        await world.ask("DELETE", f"{path}/{made['id']}")
        seen.append(await version(world, path, entity))
        assert seen == sorted(set(seen)), path
