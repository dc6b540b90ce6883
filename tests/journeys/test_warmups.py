"""A warm-up makes views ready ahead, once for however many ask, and leaves alone what is fresh."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.conditions import eventually, in_one_round
from tests.journeys.client import Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio


async def _finished(admin: Staff, run: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        found = await admin.json(f"/admin/warmups/runs/{run}", carry=False)
        return found if found["finishedAt"] else None

    return await eventually(ended, every=0.05)


async def test_two_triggers_at_once_make_one_run_which_fills_and_the_next_finds_everything_fresh(
    admin: Staff, platform: OnNats
) -> None:
    await eventually(lambda: _led(admin), every=0.1)
    most_filled = 0

    async def one_run_and_another() -> bool:
        """A process that is held up comes too late for the first, is given up by it, or holds nothing proven."""
        nonlocal most_filled
        first, second = await asyncio.gather(
            *(admin.write("POST", "/admin/warmups/runs", at=at) for at in platform.urls("bff-admin"))
        )
        run = await _finished(admin, first["id"])
        await _finished(admin, second["id"])
        most_filled = max(most_filled, run["filled"])
        again = await _finished(admin, (await admin.write("POST", "/admin/warmups/runs"))["id"])
        assert again["id"] != run["id"]
        print(f"\nfirst run: {run['filled']} filled, {run['skipped']} skipped; second: {again['filled']} filled")
        history = await admin.json("/admin/warmups/runs?limit=3")
        assert {again["id"], run["id"]} <= {each["id"] for each in history["items"]}
        return (
            (first["id"], run["state"], run["failed"], run["failures"]) == (second["id"], "succeeded", 0, [])
            and run["total"] == run["filled"] + run["skipped"]
            # The dashboard is good for five seconds only.
            and again["filled"] <= 1
            and again["skipped"] >= again["total"] - 1
        )

    assert await in_one_round(one_run_and_another)
    assert most_filled > 5


async def test_what_was_warmed_is_answered_from_the_cache_at_the_first_read(admin: Staff, platform: OnNats) -> None:
    await eventually(lambda: _led(admin), every=0.1)

    async def every_first_read_is_a_hit() -> bool:
        active = (await admin.json("/admin/users?sort=-lastActiveAt&limit=1&status=active"))["items"][0]["id"]
        await admin.write("PATCH", f"/admin/users/{active}", {"name": f"Warm {uuid4().hex[:8]}"})
        await _finished(admin, (await admin.write("POST", "/admin/warmups/runs"))["id"])
        reads = [await admin.read(f"/admin/users/{active}", at=at, carry=False) for at in platform.urls("bff-admin")]
        return all("hit" in read.headers["Cache-Status"] for read in reads)

    assert await in_one_round(every_first_read_is_a_hit)


async def test_the_schedule_is_paused_resumed_and_replaced(admin: Staff) -> None:
    await eventually(lambda: _led(admin), every=0.1)
    before = (await admin.json("/admin/warmups"))["schedule"]
    try:
        assert (await admin.write("POST", "/admin/warmups/pause"))["paused"]
        await eventually(lambda: _next_run(admin, None), every=0.05)
        replaced = await admin.write("PUT", "/admin/warmups/schedule", {"cron": "30 4 * * *"})
        assert (replaced["schedule"], replaced["paused"]) == ("30 4 * * *", True)
        assert not (await admin.write("POST", "/admin/warmups/resume"))["paused"]
        await eventually(lambda: _next_run(admin, "T04:30:00Z"), every=0.05)
        for wrong in ("every day", "61 * * * *", "* * * * * *", ""):
            refused = await admin.http.put("/admin/warmups/schedule", json={"cron": wrong})
            assert refused.status_code == 400, refused.text
        assert (await admin.json("/admin/warmups"))["schedule"] == "30 4 * * *"
    finally:
        await admin.write("PUT", "/admin/warmups/schedule", {"cron": before})


async def test_who_may_only_look_may_not_run_one(platform: OnNats) -> None:
    async with Staff(platform, "support") as support:
        await eventually(lambda: _led(support), every=0.1)
        for method, path in (("POST", "runs"), ("POST", "pause"), ("POST", "resume"), ("PUT", "schedule")):
            refused = await support.http.request(method, f"/admin/warmups/{path}", json={"cron": "* * * * *"})
            assert refused.status_code == 403, refused.text


async def _led(admin: Staff) -> bool:
    return (await admin.json("/admin/warmups"))["leader"] is not None


async def _next_run(admin: Staff, ends: str | None) -> bool:
    at = (await admin.json("/admin/warmups"))["nextRunAt"]
    return at is None if ends is None else at is not None and at.replace("+00:00", "Z").endswith(ends)
