"""Tenants by page, sort and search, and one by its id."""

import uuid

import pytest

from cloudphone_shared import entities
from tests.core.user.conftest import World

pytestmark = pytest.mark.anyio


async def test_tenants_are_listed_by_page_sort_and_part_of_name_or_slug(world: World) -> None:
    word = uuid.uuid4().hex
    made = {name: await world.tenant(f"{name} {word}") for name in ("b", "c", "a")}

    async def ids(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            answer = await world.http.get(f"/v1/tenants?search={word}&{query}{cursor}", headers=world.root)
            assert answer.status_code == 200, answer.text
            page = answer.json()["data"]
            found += [tenant["id"] for tenant in page["items"]]
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    assert await ids("limit=1") == [made["a"], made["b"], made["c"]]
    assert await ids("limit=2&sort=-createdAt") == [made["a"], made["c"], made["b"]]
    one = (await world.http.get(f"/v1/tenants/{made['a']}", headers=world.root)).json()["data"]
    by_slug = await world.http.get(f"/v1/tenants?search={one['slug']}", headers=world.root)
    assert by_slug.json()["data"]["items"] == [one]
    for wrong in ("sort=users", "limit=0", "nmae=x"):
        assert (await world.http.get(f"/v1/tenants?{wrong}", headers=world.root)).status_code == 400


async def test_a_new_tenant_raises_the_lists_version(world: World) -> None:
    before = (await world.http.get("/v1/tenants?limit=1", headers=world.root)).json()["entities"]
    tenant = await world.tenant()
    after = (await world.http.get("/v1/tenants?limit=1", headers=world.root)).json()["entities"]
    assert after[entities.tenants()] > before[entities.tenants()]
    nobody = await world.http.get(f"/v1/tenants/{uuid.uuid4()}", headers=world.root)
    assert nobody.status_code == 404
    found = await world.http.get(f"/v1/tenants/{tenant}", headers=world.root)
    assert found.json()["entities"].keys() == {entities.tenant(tenant)}
