"""What an operator asks of the caches of all processes, over HTTP: two of the console's and one of the portal's."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from cloudphone_bff_admin.main import create_app as admin_app
from cloudphone_bff_user.main import create_app as user_app
from cloudphone_shared.ids import uuid7
from tests.browser import Console, console_of
from tests.conditions import eventually
from tests.in_process import Services
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


class Three(NamedTuple):
    here: Console
    there: Console
    portal: Console


@pytest.fixture(scope="module")
async def three(services: Services, valkey: Valkey) -> AsyncIterator[Three]:
    async with (
        console_of(admin_app, services, valkey.url) as here,
        console_of(admin_app, services, valkey.url) as there,
        console_of(user_app, services, valkey.url) as portal,
    ):
        consoles = Three(here, there, portal)

        async def met() -> bool:
            return all([len(await each.cache.desk.processes()) == 3 for each in consoles])

        await eventually(met)
        yield consoles


async def test_every_process_says_how_it_is(three: Three) -> None:
    seen = (await three.there.seen("/admin/cache/processes"))["items"]
    assert [each["process"]["name"] for each in seen] == ["bff-admin", "bff-admin", "bff-user"]
    for each in seen:
        assert each["answers"] is True and each["report"]["live"] is True
        assert {feed["service"] for feed in each["report"]["feeds"]} == {"user", "device", "app", "billing"}
        assert all(feed["behind"] >= 0 and feed["ageMs"] is not None for feed in each["report"]["feeds"])


async def test_why_a_read_was_a_miss_is_found_by_its_request_id_in_whichever_process(
    three: Three, services: Services
) -> None:
    device = await services.device()
    path, key = f"/admin/devices/{device['id']}", f"device:full:{device['id']}"
    cold = await three.there.get(path)
    assert cold.headers["Cache-Status"] == "cloudphone; fwd=miss; stored; detail=no-entry"
    seen = await three.here.seen(f"/admin/cache/misses?requestId={cold.headers['X-Request-Id']}")
    [item] = seen["items"]
    assert (item["miss"]["key"], item["miss"]["why"], item["process"]["name"]) == (key, "no-entry", "bff-admin")
    assert item["process"]["id"] == three.there.cache.desk.process.id
    await three.there.ask("PATCH", path, {"name": "New"})
    await three.there.seen(path)
    latest = (await three.here.seen(f"/admin/cache/misses?key={key}&limit=1"))["items"][0]["miss"]
    assert latest["why"] == "not-proven"
    assert latest["reason"].startswith(f"device:{device['id']} has been announced at")
    assert (await three.here.seen(f"/admin/cache/misses?view=device:full&key=device:full:{uuid7()}"))["items"] == []


async def test_a_view_is_explained_segment_by_segment_and_as_every_process_has_it(
    three: Three, services: Services
) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    for console in (three.here, three.there):
        await console.seen(f"/admin/devices/{device['id']}")
    entry = await three.here.seen(f"/admin/cache/view?key=device:full:{device['id']}")
    fields = {segment["field"]: segment for segment in entry["segments"]}
    assert {"device", "owner", "applications", "usage", "operation"} == set(fields)
    assert f"user:{ana['id']}" in [shown["entity"] for shown in fields["owner"]["entities"]]
    assert all(segment["state"] == "good" and segment["readAt"] for segment in fields.values())
    assert (entry["process"]["id"], entry["proven"]) == (three.here.cache.desk.process.id, True)
    assert [each["process"]["id"] for each in entry["elsewhere"]] == [three.there.cache.desk.process.id]


async def test_a_view_of_the_portal_is_explained_and_dropped_from_the_console(three: Three, services: Services) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    await three.portal.seen("/my/profile", by=by)
    await eventually(lambda: not three.portal.cache.filler._tasks)
    key = f"my:profile:{ana['id']}"
    entry = await three.here.seen(f"/admin/cache/view?key={key}")
    assert (entry["process"]["name"], entry["layer"], entry["proven"]) == ("bff-user", "l1", True)
    dropped = (await three.here.ask("DELETE", f"/admin/cache/view?key={key}")).json()
    assert (dropped["dropped"], [each["name"] for each in dropped["heard"]]) == (True, ["bff-user"])
    assert "hit" not in (await three.portal.get("/my/profile", by=by)).headers["Cache-Status"]


async def test_a_dropped_view_is_gone_from_every_process(three: Three, services: Services) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    for console in (three.here, three.there):
        await console.seen(path)
        await eventually(lambda console=console: not console.cache.filler._tasks)
    dropped = (await three.here.ask("DELETE", f"/admin/cache/view?key=device:full:{device['id']}")).json()
    assert (len(dropped["heard"]), dropped["silent"]) == (2, [])
    assert "hit" not in (await three.there.get(path)).headers["Cache-Status"]


async def test_the_hottest_views_and_what_each_layer_holds(three: Three, services: Services) -> None:
    device = await services.device()
    for console in (three.here, three.there, three.here, three.there):
        for _ in range(10):
            await console.seen(f"/admin/devices/{device['id']}")
    hottest = (await three.here.seen("/admin/cache/hottest?limit=5"))["items"]
    mine = next(each for each in hottest if each["key"] == f"device:full:{device['id']}")
    assert len(mine["held"]) == 2 and mine["hits"] == sum(each["held"]["hits"] for each in mine["held"])
    layers = (await three.here.seen("/admin/cache/layers?limit=1"))["items"]
    assert [layer["process"]["name"] for layer in layers] == ["bff-admin", "bff-admin", "bff-user"]
    for layer in layers[:2]:
        assert "device:full" in [shelf["view"] for shelf in layer["views"]]
        assert 0 < layer["bytes"] < layer["limitBytes"] and len(layer["hottest"]) == 1


async def test_which_views_show_an_entity_is_found_stretch_by_stretch(three: Three, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    for path in (
        f"/admin/devices/{device['id']}",
        f"/admin/devices/{device['id']}/holder",
        f"/admin/users/{ana['id']}",
    ):
        await three.here.seen(path)
    await eventually(lambda: not three.here.cache.filler._tasks)
    found, scanned, cursor = set[str](), 0, ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        stretch = await three.there.seen(f"/admin/cache/showing?entity=user:{ana['id']}&limit=1{more}")
        found |= {view["key"] for view in stretch["views"]}
        scanned, cursor = scanned + stretch["scanned"], stretch["nextCursor"]
    assert {f"device:full:{device['id']}", f"device:holder:{device['id']}", f"user:full:{ana['id']}"} <= found
    assert scanned > 0
    assert (await three.there.seen(f"/admin/cache/showing?entity=user:{uuid7()}"))["views"] == []
    assert (await three.there.get("/admin/cache/showing?entity=user:1&cursor=rubbish")).status_code == 400


@pytest.mark.parametrize("path", ["processes", "misses", "hottest", "layers", "showing?entity=user:1", "view?key=a:1"])
async def test_only_who_may_read_the_cache_is_told(three: Three, services: Services, path: str) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    assert (await three.here.get(f"/admin/cache/{path}", by=by)).status_code == 403


@pytest.mark.parametrize("path", ["misses", "hottest", "layers", "showing?entity=user:1", "view?key=dashboard:1"])
async def test_whose_account_sees_one_tenant_is_not_told_of_all(three: Three, services: Services, path: str) -> None:
    by = await services.member("support", tenant=await services.tenant())
    assert (await three.here.get(f"/admin/cache/{path}", by=by)).status_code == 403
    assert (await three.here.get("/admin/cache/processes", by=by)).status_code == 200
