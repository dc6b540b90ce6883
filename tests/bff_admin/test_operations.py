"""The dashboard, the cache seen from outside, and the warm-up."""

import pytest

from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_the_dashboard_counts_everything_and_says_how_old_it_may_be(console: Console, services: Services) -> None:
    await services.device()
    answer = await console.get("/admin/dashboard")
    figures = answer.json()
    assert figures["devices"]["total"] >= 1 and figures["users"]["total"] >= 1
    assert figures["apps"] is not None and figures["billing"] is not None
    assert answer.headers["X-View-Bounded"] == "*=5"

    async def answered_twice_from_one_look() -> bool:
        first, asked = await console.seen("/admin/dashboard"), services.calls()
        return (await console.seen("/admin/dashboard"))["asOf"] == first["asOf"] and services.calls() == asked

    await eventually(answered_twice_from_one_look)


async def test_a_tenants_staff_sees_the_tenants_figures(console: Console, services: Services) -> None:
    tenant = await services.tenant()
    await services.device(tenant=tenant)
    await services.device()
    await console.seen("/admin/dashboard")
    stranger = await services.member("support", tenant=tenant)
    answer = await console.get("/admin/dashboard", by=stranger)
    assert answer.json()["devices"]["total"] == 1
    assert answer.json()["users"]["total"] == 1
    assert answer.headers["X-View-Bounded"] == "*=5"


async def test_the_cache_counts_its_hits(console: Console, services: Services) -> None:
    device = await services.device()
    for _ in range(3):
        await console.seen(f"/admin/devices/{device['id']}")
    seen = await console.seen("/admin/cache")
    assert seen["counters"]["hits_l1"] >= 2
    assert 0 < seen["hitRate"] <= 1
    assert "device:full" in seen["views"]


async def test_the_feeds_positions_are_shown(console: Console) -> None:
    feed = await console.seen("/admin/cache/feed")
    assert feed["live"] is True
    assert {each["service"] for each in feed["services"]} == {"user", "device", "app", "billing"}

    async def all_are_young() -> bool:
        feed = await console.seen("/admin/cache/feed")
        return all(each["ageMs"] < 2000 for each in feed["services"])

    await eventually(all_are_young)


async def test_an_entry_is_explained_with_the_reason_of_its_verdict(console: Console, services: Services) -> None:
    device = await services.device()
    path, key = f"/admin/devices/{device['id']}", f"device:full:{device['id']}"
    assert (await console.seen(f"/admin/cache/view?key={key}"))["reason"] == "there is no entry"
    await console.seen(path)
    entry = await console.seen(f"/admin/cache/view?key={key}")
    assert (entry["proven"], entry["kind"]) == (True, "full")
    assert entry["versions"]["device"][f"device:{device['id']}"] == device["version"]
    await console.ask("PATCH", path, {"name": "New"})
    entry = await console.seen(f"/admin/cache/view?key={key}")
    assert entry["proven"] is False
    assert f"device:{device['id']} has been announced" in entry["reason"]


async def test_a_dropped_entry_is_composed_anew(console: Console, services: Services) -> None:
    device = await services.device()
    path, key = f"/admin/devices/{device['id']}", f"device:full:{device['id']}"
    await console.seen(path)
    await eventually(lambda: not console.cache.filler._tasks)
    first = (await console.ask("DELETE", f"/admin/cache/view?key={key}")).json()
    assert (first["key"], first["dropped"], len(first["heard"]), first["silent"]) == (key, True, 1, [])
    assert (await console.ask("DELETE", f"/admin/cache/view?key={key}")).json()["dropped"] is False
    assert "hit" not in (await console.get(path)).headers["Cache-Status"]


async def test_a_key_of_no_view_is_404(console: Console) -> None:
    assert (await console.get("/admin/cache/view?key=nothing:1")).status_code == 404


async def test_the_command_line_may_look_at_the_cache_and_change_nothing_else(
    console: Console, services: Services
) -> None:
    identity = services.identity("operations")
    by = {"Authorization": f"Bearer {await identity.token()}"}
    await identity.close()
    assert (await console.get("/admin/cache", by=by)).status_code == 200
    assert (await console.get("/admin/warmups", by=by)).status_code == 200
    assert (await console.get(f"/admin/orders/{uuid7()}", by=by)).status_code == 403
    assert (await console.ask("PATCH", f"/admin/devices/{uuid7()}", {"name": "Mine"}, by=by)).status_code == 403


async def test_warmups_are_watched_triggered_paused_and_rescheduled(console: Console) -> None:
    assert (await console.seen("/admin/warmups"))["paused"] is False
    run = (await console.ask("POST", "/admin/warmups/runs")).json()
    assert (await console.ask("POST", "/admin/warmups/runs")).json()["id"] == run["id"]
    assert (await console.seen(f"/admin/warmups/runs/{run['id']}"))["state"] == "queued"
    assert run["id"] in [each["id"] for each in (await console.seen("/admin/warmups/runs"))["items"]]
    assert (await console.ask("POST", "/admin/warmups/pause")).json()["paused"] is True
    assert (await console.ask("POST", "/admin/warmups/resume")).json()["paused"] is False
    changed = await console.ask("PUT", "/admin/warmups/schedule", {"cron": "0 * * * *"})
    assert changed.json()["schedule"] == "0 * * * *"
    assert (await console.ask("PUT", "/admin/warmups/schedule", {"cron": "every now and then"})).status_code == 400


async def test_a_tenants_staff_may_watch_the_warmup_of_all_tenants_and_not_drive_it(
    console: Console, services: Services
) -> None:
    theirs = await services.member("admin", tenant=await services.tenant())
    assert (await console.seen("/admin/warmups", by=theirs))["paused"] is False
    for method, path in (("POST", "runs"), ("POST", "pause"), ("POST", "resume"), ("PUT", "schedule")):
        refused = await console.ask(method, f"/admin/warmups/{path}", {"cron": "* * * * *"}, by=theirs)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_what_the_warmup_fills_is_a_hit_for_its_reader(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    await services.signed_in(ana["email"])
    identity = services.identity("cache-worker")
    worker = {"Authorization": f"Bearer {await identity.token()}"}
    await identity.close()
    plan = (await console.get("/internal/warmup/plan?users=1000", by=worker)).json()["data"]["keys"]
    wanted = {"view": "device:full", "params": {"device_id": device["id"]}}
    assert wanted in plan and plan[0]["view"] == "dashboard"
    keys = [wanted, {"view": "nothing", "params": {}}, {"view": "device:full", "params": {"device_id": str(uuid7())}}]
    results = (await console.ask("POST", "/internal/warmup/fill", {"keys": keys}, by=worker)).json()["data"]
    assert [each["outcome"] for each in results[:2]] == ["filled", "failed"]
    assert results[1]["reason"]
    assert "hit" in (await console.get(f"/admin/devices/{device['id']}")).headers["Cache-Status"]
    again = (await console.ask("POST", "/internal/warmup/fill", {"keys": [wanted]}, by=worker)).json()["data"]
    assert again[0]["outcome"] == "skipped"


async def test_only_the_cache_worker_may_warm(console: Console) -> None:
    assert (await console.get("/internal/warmup/plan")).status_code == 403


async def test_prometheus_reads_the_caches_counts_and_how_far_each_feed_is(
    console: Console, services: Services
) -> None:
    device = await services.device()
    await console.seen(f"/admin/devices/{device['id']}")
    await eventually(lambda: not console.cache.filler._tasks)
    text = (await console.get("/metrics")).text
    stored = console.cache.stats()["stored"]
    assert f'cloudphone_cache_stored_total{{app="bff-admin"}} {stored}' in text
    assert 'cloudphone_cache_feed_age_seconds{app="bff-admin",service="billing"}' in text
    assert text.count("# TYPE cloudphone_cache_misses_total") == 1


async def test_hits_in_front_of_the_app_have_an_id_and_are_counted_by_route(
    console: Console, services: Services
) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)

    async def counted(status: int) -> float:
        text = (await console.get("/metrics")).text
        labels = f'app="bff-admin",method="GET",route="/admin/devices/{{device_id}}",status="{status}"'
        line = f"cloudphone_http_requests_total{{{labels}}} "
        return next((float(each.removeprefix(line)) for each in text.splitlines() if each.startswith(line)), 0.0)

    hits, unchanged = await counted(200), await counted(304)
    first, second = await console.get(path), await console.get(path)
    assert "hit" in second.headers["Cache-Status"]
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    named = await console.get(path, x_request_id="named-by-ana", if_none_match=second.headers["ETag"])
    assert (named.status_code, named.headers["X-Request-Id"]) == (304, "named-by-ana")
    forged = await console.get(path, x_request_id="no id!")
    assert forged.headers["X-Request-Id"] != "no id!"
    assert (await counted(200) - hits, await counted(304) - unchanged) == (3, 1)
