"""A warm-up makes views ready ahead, once for however many ask, and leaves alone what is fresh."""

import asyncio
from typing import Any

import pytest

from tests.conditions import eventually
from tests.journeys.client import Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio


async def _finished(admin: Staff, run: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        found = await admin.json(f"/admin/warmups/runs/{run}", carry=False)
        return found if found["finishedAt"] else None

    return await eventually(ended, within=30, every=0.05)


async def test_two_triggers_at_once_make_one_run_which_fills_and_the_next_finds_everything_fresh(
    admin: Staff, platform: OnNats
) -> None:
    await eventually(lambda: _led(admin), within=20, every=0.1)
    first, second = await asyncio.gather(
        *(admin.write("POST", "/admin/warmups/runs", at=at) for at in platform.urls("bff-admin"))
    )
    assert first["id"] == second["id"]
    run = await _finished(admin, first["id"])
    assert (run["state"], run["failed"], run["failures"]) == ("succeeded", 0, [])
    assert run["total"] == run["filled"] + run["skipped"]
    assert run["filled"] > 5
    again = await _finished(admin, (await admin.write("POST", "/admin/warmups/runs"))["id"])
    assert again["id"] != run["id"]
    print(f"\nfirst run: {run['filled']} filled, {run['skipped']} skipped; second: {again['filled']} filled")
    # The dashboard is good for five seconds only.
    assert again["filled"] <= 1
    assert again["skipped"] >= again["total"] - 1
    history = await admin.json("/admin/warmups/runs?limit=2")
    assert [each["id"] for each in history["items"]] == [again["id"], run["id"]]


async def test_what_was_warmed_is_answered_from_the_cache_at_the_first_read(admin: Staff, platform: OnNats) -> None:
    await eventually(lambda: _led(admin), within=20, every=0.1)
    await _finished(admin, (await admin.write("POST", "/admin/warmups/runs"))["id"])
    active = (await admin.json("/admin/users?sort=-lastActiveAt&limit=1&status=active"))["items"][0]["id"]
    for at in platform.urls("bff-admin"):
        assert "hit" in (await admin.read(f"/admin/users/{active}", at=at, carry=False)).headers["Cache-Status"]


async def test_the_schedule_is_paused_resumed_and_replaced(admin: Staff) -> None:
    await eventually(lambda: _led(admin), within=20, every=0.1)
    before = (await admin.json("/admin/warmups"))["schedule"]
    try:
        assert (await admin.write("POST", "/admin/warmups/pause"))["paused"]
        await eventually(lambda: _next_run(admin, None), within=10, every=0.05)
        replaced = await admin.write("PUT", "/admin/warmups/schedule", {"cron": "30 4 * * *"})
        assert (replaced["schedule"], replaced["paused"]) == ("30 4 * * *", True)
        assert not (await admin.write("POST", "/admin/warmups/resume"))["paused"]
        await eventually(lambda: _next_run(admin, "T04:30:00Z"), within=10, every=0.05)
        for wrong in ("every day", "61 * * * *", "* * * * * *", ""):
            refused = await admin.http.put("/admin/warmups/schedule", json={"cron": wrong})
            assert refused.status_code == 400, refused.text
        assert (await admin.json("/admin/warmups"))["schedule"] == "30 4 * * *"
    finally:
        await admin.write("PUT", "/admin/warmups/schedule", {"cron": before})


async def test_who_may_only_look_may_not_run_one(platform: OnNats) -> None:
    async with Staff(platform, "support") as support:
        assert (await support.json("/admin/warmups"))["leader"]
        for method, path in (("POST", "runs"), ("POST", "pause"), ("POST", "resume"), ("PUT", "schedule")):
            refused = await support.http.request(method, f"/admin/warmups/{path}", json={"cron": "* * * * *"})
            assert refused.status_code == 403, refused.text


async def _led(admin: Staff) -> bool:
    return (await admin.json("/admin/warmups"))["leader"] is not None


async def _next_run(admin: Staff, ends: str | None) -> bool:
    at = (await admin.json("/admin/warmups"))["nextRunAt"]
    return at is None if ends is None else at is not None and at.replace("+00:00", "Z").endswith(ends)
