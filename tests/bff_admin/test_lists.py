"""Lists: ids from their owner, cards from the cache."""

import uuid

import pytest

from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_devices_come_as_cards_with_their_owners_present_names(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    ana = await services.user("Ana", tenant=tenant)
    await services.device("Beta", owner=ana)
    await services.device("Alpha", tenant=tenant)
    await services.ask("PATCH", "user", f"/v1/users/{ana['id']}", {"name": "Anna"})
    page = await console.seen(f"/admin/devices?tenantId={tenant}&sort=name")
    cards = [(each["device"]["name"], each["owner"] and each["owner"]["name"]) for each in page["items"]]
    assert cards == [("Alpha", None), ("Beta", "Anna")]
    assert page["nextCursor"] is None


async def test_a_second_look_at_a_page_asks_only_for_its_ids(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    ana = await services.user("Ana", tenant=tenant)
    for number in range(3):
        await services.device(f"Phone {number}", owner=ana)
    path = f"/admin/devices?tenantId={tenant}"
    first = await console.seen(path)
    asked = services.calls()
    assert await console.seen(path) == first
    assert services.calls() == asked + 1


async def test_a_cold_page_of_cards_asks_each_service_once(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    people = [await services.user(f"Holder {number}", tenant=tenant) for number in range(3)]
    for number in range(12):
        device = await services.device(f"Phone {number}", owner=people[number % 3])
        await services.order(people[number % 3], deviceId=device["id"])
    for path, costs in (
        ("/admin/devices", {"device": 2, "user": 1, "app": 0, "billing": 0, "cache-worker": 0}),
        ("/admin/orders", {"billing": 3, "user": 1, "device": 1, "app": 0, "cache-worker": 0}),
        ("/admin/users", {"user": 1, "device": 0, "app": 0, "billing": 0, "cache-worker": 0}),
        ("/admin/apps", {"app": 1, "user": 0, "device": 0, "billing": 0, "cache-worker": 0}),
    ):
        before = {name: wire.calls for name, wire in services.wires.items()}
        page = await console.seen(f"{path}?limit=50" + ("" if path == "/admin/apps" else f"&tenantId={tenant}"))
        assert len(page["items"]) == {"/admin/users": 3, "/admin/apps": len(page["items"])}.get(path, 12)
        # The page of ids and the cards; billing has the orders' plans beside.
        assert {name: wire.calls - before[name] for name, wire in services.wires.items()} == costs, path


async def test_pages_follow_each_other_without_gap_or_repeat(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    names = [f"Phone {number}" for number in range(5)]
    for name in names:
        await services.device(name, tenant=tenant)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await console.seen(f"/admin/devices?tenantId={tenant}&sort=-name&limit=2{cursor}")
        seen += [each["device"]["name"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == sorted(names, reverse=True)


async def test_devices_are_filtered_and_searched_by_their_owner_service(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    ana = await services.user("Ana", tenant=tenant)
    held = await services.device("Held", owner=ana)
    await services.device("Free", tenant=tenant)

    async def ids(query: str) -> list[str]:
        page = await console.seen(f"/admin/devices?tenantId={tenant}&{query}")
        return [each["device"]["id"] for each in page["items"]]

    assert await ids("assigned=true") == [held["id"]]
    assert await ids("search=hel") == [held["id"]]
    assert await ids("state=allocated") == [held["id"]]
    assert await ids(f"ownerId={ana['id']}") == [held["id"]]
    assert await ids("search=nothing") == []


async def test_orders_come_with_names_from_their_owners(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device("Pixel", owner=ana)
    await services.order(ana, deviceId=device["id"])
    page = await console.seen(f"/admin/orders?userId={ana['id']}")
    [card] = page["items"]
    assert (card["user"]["name"], card["deviceName"], card["planName"]) == ("Ana", "Pixel", "Basic")


async def test_users_apps_plans_and_tenants_are_listed(console: Console, services: Services) -> None:
    name = f"Zoe {uuid.uuid4().hex[:8]}"
    await services.user(name)
    assert [each["name"] for each in (await console.seen(f"/admin/users?search={name}"))["items"]] == [name]
    installed = await services.installed(await services.device())
    apps = (await console.seen(f"/admin/apps?search={installed['packageName']}"))["items"]
    assert [each["id"] for each in apps] == [installed["appId"]]
    assert len(await console.seen(f"/admin/apps/{installed['appId']}/versions")) == 1
    plan = await services.plan(name=name)
    assert [each["id"] for each in (await console.seen(f"/admin/plans?search={name}"))["items"]] == [plan["id"]]
    tenant = await services.tenant(name)
    assert [each["id"] for each in (await console.seen(f"/admin/tenants?search={name}"))["items"]] == [tenant]


async def test_plans_nodes_and_templates_are_filtered_sorted_and_paged(console: Console, services: Services) -> None:
    word = uuid.uuid4().hex[:8]
    for name, price in (("a", 2), ("b", 1)):
        await services.plan(name=f"{name} {word}", price=price)
    wanted = {"region": word, "capacity": 1}
    for name in ("a", "b"):
        node = await services.ask("POST", "device", "/v1/nodes", {"name": f"{name} {word}", **wanted})
    await services.ask("PATCH", "device", f"/v1/nodes/{node['id']}", {"status": "offline"})
    template = await services.template()

    for path, found in (
        (f"/admin/plans?search={word}&active=true&sort=price", "ba"),
        (f"/admin/plans?search={word}&active=false", ""),
        (f"/admin/nodes?region={word}&sort=-name", "ba"),
        (f"/admin/nodes?region={word}&status=offline", "b"),
    ):
        page = await console.seen(path)
        assert "".join(each["name"][0] for each in page["items"]) == found, path
    first = await console.seen(f"/admin/nodes?region={word}&limit=1")
    rest = await console.seen(f"/admin/nodes?region={word}&limit=1&cursor={first['nextCursor']}")
    assert [each["name"][0] for each in first["items"] + rest["items"]] == ["a", "b"]
    assert rest["nextCursor"] is None
    found = await console.seen(f"/admin/templates?search={template['name']}&androidVersion=14")
    assert [each["id"] for each in found["items"]] == [template["id"]]


async def test_support_lists_its_own_tenant_only(console: Console, services: Services) -> None:
    await services.device("Ours")
    tenant = await services.tenant()
    await services.device("Theirs", tenant=tenant)
    stranger = await services.member("support", tenant=tenant)
    page = await console.seen("/admin/devices", by=stranger)
    assert [each["device"]["name"] for each in page["items"]] == ["Theirs"]
    assert (await console.seen(f"/admin/devices?tenantId={services.tenant_id}", by=stranger))["items"] == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "sort=password", "state=flying", "ownerId=7", "nmae=x",
     "search=%00", "search=" + "x" * 200],
)  # fmt: skip
async def test_what_is_no_query_is_a_400(console: Console, query: str) -> None:
    answer = await console.get(f"/admin/devices?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_list_without_its_owner_is_503_and_without_another_lacks_a_part(
    console: Console, services: Services
) -> None:
    ana = await services.user("Ana", tenant=await services.tenant())
    await services.device("Pixel", owner=ana)
    path = f"/admin/devices?ownerId={ana['id']}"
    await console.seen("/admin/cache")  # Who has just started does not know the keys that tokens are signed with.
    services.wires["user"].cut = True
    try:
        [card] = (await console.seen(path))["items"]
        assert (card["device"]["name"], card["owner"]) == ("Pixel", None)
    finally:
        services.wires["user"].cut = False
    services.wires["device"].cut = True
    try:
        assert (await console.get(path)).status_code == 503
    finally:
        services.wires["device"].cut = False


async def test_nobody_has_no_devices(console: Console) -> None:
    assert (await console.seen(f"/admin/devices?ownerId={uuid7()}")) == {"items": [], "nextCursor": None}
