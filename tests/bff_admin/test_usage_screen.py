"""A user's running time on one screen."""

from datetime import UTC, datetime, timedelta

import pytest

from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_a_run_is_on_the_users_screen_for_its_recorder_at_once(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device("Pixel", owner=ana)
    path = f"/admin/users/{ana['id']}/usage"
    assert (await console.seen(path))["usage"]["seconds"] == 0
    end = datetime.now(UTC)
    body = {
        "runId": str(uuid7()), "deviceId": device["id"], "userId": ana["id"],
        "startedAt": (end - timedelta(seconds=90)).isoformat(), "stoppedAt": end.isoformat(),
    }  # fmt: skip
    answer = await console.ask("POST", "/admin/usage-records", body)
    assert answer.status_code == 201, answer.text
    seen = await console.seen(path)
    assert sum(day["seconds"] for day in seen["days"]) == 90
    assert len(seen["days"]) == 30
    assert (await console.get(path)).headers["Cache-Status"].startswith("cloudphone; hit")
