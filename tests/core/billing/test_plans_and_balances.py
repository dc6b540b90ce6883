"""Plans are sold to everybody at a price that stands."""

import pytest

from cloudphone_core.billing.models import Base
from cloudphone_shared.database import History, differences
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_a_plan_is_renamed_and_withdrawn_but_keeps_its_price(world: World) -> None:
    plan = await world.plan(name="Old")
    path = f"/v1/plans/{plan['id']}"
    renamed = (await world.ok("PATCH", path, world.admin, {"name": "New"}))["data"]
    assert (renamed["name"], renamed["price"]) == ("New", plan["price"])
    assert renamed["version"] > plan["version"]
    same = (await world.ok("PATCH", path, world.admin, {"name": "New"}))["data"]
    assert same["version"] == renamed["version"]
    assert (await world.client.patch(path, headers=world.admin, json={"price": 1})).status_code == 400
    old = {**world.admin, "If-Match": f'"v{plan["version"]}"'}
    assert (await world.client.patch(path, headers=old, json={"active": False})).status_code == 412
    await world.ok("PATCH", path, world.admin, {"active": False})
    listed = await world.ok("GET", "/v1/plans?limit=100", world.bff)
    plans = listed["data"]["items"]
    assert [one["active"] for one in plans] == sorted((one["active"] for one in plans), reverse=True)
    assert listed["entities"].keys() == {"plans:all", *(f"plan:{one['id']}" for one in plans)}
    assert plan["id"] in {one["id"] for one in plans}
    for query in ("limit=100", "limit=100&active=false"):
        offered = await world.ok("GET", f"/v1/plans?{query}", world.as_ana)
        assert plan["id"] not in {one["id"] for one in offered["data"]["items"]}


async def test_plans_are_listed_by_page_filter_sort_and_part_of_the_name(world: World) -> None:
    """Two sort columns of opposite directions, one of them a truth value, which cursors must carry over."""
    word = uuid7().hex
    for name, price in (("a", 3), ("b", 2), ("c", 1), ("d", 4)):
        plan = await world.plan(name=f"{name} {word}", price=price)
        if name in "ac":
            await world.ok("PATCH", f"/v1/plans/{plan['id']}", world.admin, {"active": False})

    async def names(query: str) -> str:
        found, cursor = "", ""
        while True:
            path = f"/v1/plans?search={word.upper()}&{query}{cursor}"
            page = (await world.ok("GET", path, world.bff))["data"]
            found += "".join(one["name"][0] for one in page["items"])
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    assert await names("limit=1") == "bdac"
    assert await names("limit=3") == "bdac"
    assert await names("limit=1&sort=active,-price") == "acdb"
    assert await names("limit=2&sort=price") == "cbad"
    assert await names("active=false") == "ac"
    assert await names("active=true&sort=-name") == "db"
    for wrong in ("sort=version", "limit=0", "cursor=x", "nmae=x", "active=perhaps"):
        answer = await world.client.get(f"/v1/plans?{wrong}", headers=world.bff)
        assert answer.status_code == 400, wrong


async def test_whatever_may_change_a_list_of_plans_raises_its_version(world: World) -> None:
    async def version() -> int:
        return (await world.ok("GET", "/v1/plans?active=true&limit=1", world.bff))["entities"]["plans:all"]

    before = await version()
    path = f"/v1/plans/{(await world.plan())['id']}"
    made = await version()
    await world.ok("PATCH", path, world.admin, {"active": False})
    withdrawn = await version()
    await world.ok("PATCH", path, world.admin, {"active": False})
    assert await version() == withdrawn
    await world.ok("PATCH", path, world.admin, {"name": "Aardvark"})
    renamed = await version()
    await world.ok("DELETE", path, world.admin)
    assert before < made < withdrawn < renamed < await version()


async def test_only_a_plan_never_ordered_can_be_deleted(world: World) -> None:
    order = await world.order()
    ordered = f"/v1/plans/{order['planId']}"
    refused = await world.client.delete(ordered, headers=world.admin)
    assert refused.status_code == 409
    plan = await world.plan()
    before = (await world.ok("GET", "/v1/plans", world.bff))["entities"]["plans:all"]
    gone = await world.ok("DELETE", f"/v1/plans/{plan['id']}", world.admin)
    assert gone["data"] is None
    tombstone = gone["entities"][f"plan:{plan['id']}"]
    assert tombstone > plan["version"]
    assert gone["entities"]["plans:all"] > before
    absent = await world.client.get(f"/v1/plans/{plan['id']}", headers=world.bff)
    assert absent.status_code == 404
    assert problem(absent)["entities"] == {f"plan:{plan['id']}": tombstone}


async def test_a_tenants_administrator_changes_no_plan_of_all_tenants(world: World) -> None:
    plan = await world.plan()
    who = world.staff(world.acme)
    assert (await world.client.post("/v1/plans", headers=who, json={"name": "A", "price": 1})).status_code == 403
    path = f"/v1/plans/{plan['id']}"
    assert (await world.client.patch(path, headers=who, json={"name": "Mine"})).status_code == 403
    assert (await world.client.delete(path, headers=who)).status_code == 403


async def test_orders_are_found_sorted_and_turned_page_by_page(world: World) -> None:
    tom = world.owners.user(world.acme, name="50%_Tom", email="tom@example.com")
    as_tom = world.customer(tom.id, world.acme)
    amounts = [300, 100, 200, 100, 400]
    for amount in amounts:
        await world.order(as_tom, planId=(await world.plan(price=amount))["id"])
    staff = world.staff(world.acme)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await world.ok("GET", f"/v1/orders?sort=-amount&limit=2{cursor}", staff))["data"]
        seen += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    batch = (await world.ok("GET", f"/v1/orders/batch?ids={','.join(seen)}", staff))["data"]["found"]
    assert [batch[order_id]["data"]["amount"] for order_id in seen] == sorted(amounts, reverse=True)
    assert (await world.client.get(f"/v1/orders?sort=amount{cursor}", headers=staff)).status_code == 400
    assert (await world.client.get(f"/v1/orders?sort=-amount{cursor}", headers=as_tom)).status_code == 400

    async def count(query: str) -> int:
        return len((await world.ok("GET", f"/v1/orders?{query}", staff))["data"]["items"])

    assert await count("search=TOM@") == 5
    assert await count("search=50%25_t") == 5
    assert await count("search=5__T") == 0
    assert await count("search=nobody") == 0
    assert await count("state=provisioning") == 5
    assert await count("state=paid") == 0
    assert await count(f"userId={tom.id}&sort=userName,-createdAt") == 5
    assert await count(f"userId={world.ana.id}") == 0
    assert await count(f"planId={batch[seen[0]]['data']['planId']}") == 1
    latest = (await world.ok("GET", "/v1/orders?limit=1", staff))["data"]["items"]
    assert len(latest) == 1


async def test_the_migrated_schema_is_the_models(database_url: str) -> None:
    assert await differences(database_url, History.of("billing"), Base.metadata) == []
