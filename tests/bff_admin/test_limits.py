"""Limits per caller: exact over several processes, on hits as on everything else."""

import asyncio

import pytest

from tests.bff_admin.conftest import console_of
from tests.in_process import Services
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


async def test_two_processes_admit_no_more_than_one_would(services: Services, valkey: Valkey) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    by = await services.member("support")
    limits = {"rate_limits": "20/min"}
    async with console_of(services, valkey.url, **limits) as one, console_of(services, valkey.url, **limits) as two:
        answers = await asyncio.gather(*(console.get(path, by=by) for _ in range(20) for console in (one, two)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(200), statuses.count(429)) == (20, 20)
        all_refused = [answer for answer in answers if answer.status_code == 429]
        assert all(answer.headers["X-Request-Id"] == answer.json()["requestId"] for answer in all_refused)
        refused = all_refused[0]
        assert refused.json()["code"] == "limit-exceeded"
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"] and refused.headers["RateLimit-Policy"]


async def test_a_role_may_have_other_limits(services: Services, valkey: Valkey) -> None:
    by = await services.member("operator")
    async with console_of(services, valkey.url, rate_limits="1/min", rate_limits_by_role="operator=3/min") as console:
        statuses = [(await console.get("/admin/cache", by=by)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_without_redis_each_process_counts_for_itself(services: Services) -> None:
    by = await services.member("support")
    device = await services.device()
    async with console_of(services, "redis://127.0.0.1:1/0", rate_limits="3/min", wait=False) as console:
        path = f"/admin/devices/{device['id']}"
        statuses = [(await console.get(path, by=by)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
