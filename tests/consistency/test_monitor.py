"""The monitor: a running platform watched by reads alone."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import httpx
import pytest
from rich.console import Console

import cloudphone_deploy.consistency.monitor
from cloudphone_deploy.consistency.heard import Changed, Heard
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.monitor import Monitor, differences, summarise, things_in
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.database import Change, Changes
from tests.conditions import eventually
from tests.servers import free_port

pytestmark = pytest.mark.anyio

Judge = Callable[..., Monitor]


@pytest.fixture
async def watching(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Monitor]]:
    """A monitor's settings are the laboratory's, for as long as the test lasts."""
    await laboratory.until_healthy()
    before = dict(os.environ)
    os.environ.update(laboratory.environment)

    def monitor(*targets: str) -> Monitor:
        return Monitor(targets or laboratory.bff_admins, laboratory.folder.path, reads=200, seed=1)

    yield monitor
    os.environ.clear()
    os.environ.update(before)


async def test_a_sound_platform_is_found_consistent(
    laboratory: Laboratory, watching: Callable[..., Monitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A change is announced with the time at which its transaction began, which may stand still before its commit.
    monkeypatch.setattr(cloudphone_deploy.consistency.monitor, "CLOCKS_SECONDS", 30.0)
    monitor = watching()
    async with monitor.opened():
        task = asyncio.create_task(monitor.run())
        try:
            await _rename_some(laboratory)
            await eventually(lambda: monitor.result.answers >= 60 and monitor.result.compared >= 5, within=180)
            await eventually(lambda: bool(monitor.changed.recent), within=60)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    found = monitor.finish()
    assert found.consistent, found.examples
    assert found.fresh.checks > 30


async def test_what_it_counts_prometheus_can_ask_for(laboratory: Laboratory, watching: Callable[..., Monitor]) -> None:
    monitor, port = watching(), free_port()
    monitor.metrics.serve(port)
    async with monitor.opened():
        await monitor.look()
    async with httpx.AsyncClient() as http:
        said = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    assert 'cloudphone_consistency_checks_total{passed_for="fresh"}' in said
    assert 'cloudphone_consistency_stale_total{passed_for="fresh",seconds="0.1"} 0.0' in said
    with pytest.raises(CommandError, match=f"Port {port}"):
        watching().metrics.serve(port)


async def test_the_portal_is_no_target(laboratory: Laboratory, watching: Callable[..., Monitor]) -> None:
    monitor = watching(laboratory.bff_users[0])
    with pytest.raises(CommandError, match="is no admin BFF"):
        async with monitor.opened():
            pass


def seen(version: int, *, as_of: float | None = None, status: str = "cloudphone; hit; detail=l1") -> httpx.Response:
    headers = {"cache-status": status}
    if as_of is not None:
        text = datetime.fromtimestamp(as_of, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers["x-fresh-as-of"] = text
    body = {"device": {"id": "1", "name": "Phone", "version": version}, "owner": None}
    return httpx.Response(200, json=body, headers=headers, request=httpx.Request("GET", "http://bff/admin/devices/1"))


def heard(monitor: Monitor, version: int, *, ago: float) -> None:
    monitor.changed.note("device:1", Heard(version, time.monotonic() - ago, time.time() - ago))


def test_a_view_older_than_what_was_heard_is_stale() -> None:
    monitor = Monitor(["http://bff"])
    heard(monitor, 8, ago=10.0)
    monitor._judge(seen(7), time.monotonic())
    found = monitor.finish()
    assert (found.fresh.stale, found.stale_as_fresh, found.false_labels) == ([1, 1, 1, 0], 1, 0)
    assert not found.consistent and "device:1 at 7" in found.examples[0]


def test_a_view_as_new_as_what_was_heard_is_not() -> None:
    monitor = Monitor(["http://bff"])
    heard(monitor, 8, ago=10.0)
    monitor._judge(seen(8, as_of=time.time()), time.monotonic())
    assert monitor.finish().consistent and monitor.result.fresh.checks == 1


def test_a_label_later_than_a_missing_change_is_false() -> None:
    monitor = Monitor(["http://bff"])
    heard(monitor, 8, ago=10.0)
    monitor._judge(seen(7, as_of=time.time(), status="cloudphone; hit; detail=degraded"), time.monotonic())
    assert (monitor.result.false_labels, monitor.result.stale_as_fresh) == (1, 0)


def test_a_monitor_that_checked_nothing_proves_nothing() -> None:
    shown = StringIO()
    summarise(Monitor(["http://bff"]).finish(), Console(file=shown, width=160))
    assert "Nothing can be said: not one thing was checked." in shown.getvalue()


def test_content_is_compared_where_both_have_the_field() -> None:
    shown: dict[str, Any] = {"id": "1", "name": "a", "state": "idle", "tags": [], "version": 3, "extra": 1}
    assert differences(shown, {**shown, "name": "b", "version": 4, "tags": ["x"]}) == ["name"]


def test_every_versioned_part_of_a_screen_is_looked_at() -> None:
    part = {"id": "1", "version": 5}
    user = {"user": part, "devices": {"total": 1, "items": [part]}, "orders": [part], "balance": None, "usage": part}
    assert [thing.entity for thing in things_in(user)] == ["user:1", "device:1", "order:1"]
    assert [thing.entity for thing in things_in({"device": part, "owner": None})] == ["device:1"]


def test_changes_are_remembered_in_order() -> None:
    changed = Changed()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    changes = [Change(seq=number, entities={"device:1": number + 10}, time=at) for number in (1, 2)]
    changed.hear("device", Changes(changes=changes, position=2, incarnation=1), 5.0)
    first, last = changed.newer("device:1", 10), changed.newer("device:1", 11)
    assert first and last and (first.version, last.version) == (11, 12)
    assert changed.newer("device:1", 12) is None and changed.position["device"] == 2


async def _rename_some(laboratory: Laboratory) -> None:
    email, password = laboratory.administrator()
    async with httpx.AsyncClient(base_url=laboratory.bff_admins[0], timeout=30) as http:
        token = (await answered(http, "POST", "/auth/login", {"email": email, "password": password}))["accessToken"]
        http.headers["Authorization"] = f"Bearer {token}"
        for card in (await answered(http, "GET", "/admin/devices?limit=5"))["items"]:
            device = card["device"]
            await answered(http, "PATCH", f"/admin/devices/{device['id']}", {"name": f"{device['name']} again"})


async def answered(http: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    """Asks until there is an answer: a machine that stands still makes a service unavailable for a moment."""

    async def once() -> Any:
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 200 or answer.status_code >= 500, answer.text
        return answer.status_code == 200 and answer.json()

    return await eventually(once, within=60)
