"""However many ask for a cold view at once, it is composed once."""

import asyncio
import re
from collections import Counter

import httpx
import pytest

from tests.conditions import in_one_round
from tests.journeys.client import Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio

READERS = 1000
_COUNT = re.compile(
    r'^cloudphone_http_requests_total\{app="(\w+)",method="GET",route="(/v1/[^"]+)",.*\} (\S+)$', re.MULTILINE
)


async def test_a_thousand_simultaneous_readers_over_four_processes_make_one_composition(
    platform: OnNats, admin: Staff
) -> None:
    with platform.with_more("bff-admin", 4) as processes:
        assert len(processes) == 4
        for at in processes:
            # So that each process knows the caller and has heard the feed.
            await admin.json(f"/admin/devices/{(await admin.new_device())['id']}", at=at)

        async def once() -> bool:
            """Twice where who composes is held up for longer than the others wait."""
            device = (await admin.new_device())["id"]
            asked, composed = await _asked(platform), await _composed(admin, processes)
            paths = [f"{processes[number % 4]}/admin/devices/{device}" for number in range(READERS)]
            answers = await asyncio.gather(*(admin.read(path, carry=False) for path in paths))
            composed = await _composed(admin, processes) - composed
            sources = Counter(answer.headers.get("Cache-Status", str(answer.status_code)) for answer in answers)
            asked = await _asked(platform) - asked
            print(
                f"\n{READERS} readers over 4 processes: composed {composed:g} times; asked: {dict(asked)};"
                f" {dict(sources)}"
            )
            assert {answer.status_code for answer in answers} == {200}
            assert len({answer.content for answer in answers}) == 1
            about_it = [count for (_, route), count in asked.items() if route.startswith("/v1/devices/{device_id}")]
            return composed == 1 and about_it == [1] * 4

        assert await in_one_round(once)


async def _composed(admin: Staff, processes: list[str]) -> float:
    """Compositions since start, over all processes."""
    return sum([(await admin.json("/admin/cache", at=at, carry=False))["counters"]["composed"] for at in processes])


async def _asked(platform: OnNats) -> Counter[tuple[str, str]]:
    """Requests that the services answered, by service and route."""
    counts: Counter[tuple[str, str]] = Counter()
    async with httpx.AsyncClient(timeout=60) as http:
        for service in ("device", "billing"):
            for app, route, count in _COUNT.findall((await http.get(f"{platform.url(service)}/metrics")).text):
                counts[app, route] += int(float(count))
    return counts
