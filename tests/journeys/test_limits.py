"""Limits are exact over the processes of a BFF: never over."""

import asyncio
import time
from collections import Counter

import httpx
import pytest

from tests.conditions import eventually
from tests.journeys.client import PASSWORD, Person, Staff
from tests.journeys.conftest import OnNats, OnRabbitMQ

pytestmark = pytest.mark.anyio


async def _supporter(platform: OnNats, admin: Staff) -> Person:
    """Of the role that has the usual limits."""
    user = await admin.new_user("Sam", role="support")
    token = platform.sign_in("bff-admin", user["email"], PASSWORD)["accessToken"]
    return Person(platform, "bff-admin", token, ids={"user": user["id"]})


async def test_never_more_than_ten_in_any_second_over_two_processes_whatever_answers(
    platform: OnNats, admin: Staff, customer: Person
) -> None:
    """Cached screens, lists, and refused writes, sent at once to both; counted by when the answers came."""
    paths = [f"/admin/devices/{customer.ids['device']}", "/admin/devices?limit=1", "/admin/nowhere"]
    async with await _supporter(platform, admin) as caller:
        admitted: list[tuple[float, float]] = []
        refused: list[httpx.Response] = []

        async def ask(number: int) -> None:
            sent = time.monotonic()
            answer = await caller.read(platform.urls("bff-admin")[number % 2] + paths[number % 3], carry=False)
            if answer.status_code == 429:
                refused.append(answer)
            else:
                admitted.append((sent, time.monotonic()))

        async with asyncio.timeout(60):
            while len(admitted) < 35 or not refused:
                await asyncio.gather(*(ask(number) for number in range(12)))
        # Eleven admissions surely within one second: the first was sent, and the last answered, within it.
        for sent, _ in admitted:
            within = [answered for begun, answered in admitted if begun >= sent and answered < sent + 1.0]
            assert len(within) <= 10, f"{len(within)} were admitted within a second"
        print(f"\n{len(admitted)} admitted, {len(refused)} refused over two processes")
        one = refused[0]
        assert one.headers["Content-Type"].startswith("application/problem+json")
        assert int(one.headers["Retry-After"]) >= 1
        assert (
            one.headers["RateLimit-Policy"]
            == '"10-per-1s";q=10;w=1, "100-per-10s";q=100;w=10, "500-per-60s";q=500;w=60'
        )
        assert one.headers["RateLimit"].startswith('"10-per-1s";r=0;t=')
        assert one.json()["code"] == "limit-exceeded", one.text

        async def admitted_again() -> bool:
            return (await caller.read(paths[0])).status_code == 200

        await eventually(admitted_again, every=0.2)


async def test_without_redis_nobody_is_refused_for_that_reason(platform: OnNats, admin: Staff) -> None:
    async with await _supporter(platform, admin) as caller:
        platform.store.pause()
        try:
            answers = [await caller.read("/admin/templates") for _ in range(5)]
        finally:
            platform.store.resume()
        assert {answer.status_code for answer in answers} == {200}


async def test_signing_in_is_limited_per_account_and_per_address(platform_on_rabbitmq: OnRabbitMQ) -> None:
    at = platform_on_rabbitmq.url("bff-user")

    async with httpx.AsyncClient(base_url=at, timeout=30) as http:

        async def attempts(emails: list[str], addresses: list[str]) -> Counter[int]:
            answers = [
                await http.post(
                    "/auth/login", json={"email": email, "password": "wrong"}, headers={"X-Forwarded-For": address}
                )
                for email, address in zip(emails, addresses, strict=True)
            ]
            limited = [answer for answer in answers if answer.status_code == 429]
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in limited)
            assert all("RateLimit" in answer.headers for answer in limited)
            return Counter(answer.status_code for answer in answers)

        spread = [f"172.16.0.{number}" for number in range(7)]
        # However it is spelt, an account is the same.
        spelt = ["mallory@example.com", "MALLORY@example.com"] * 4
        assert await attempts(spelt[:7], spread) == {401: 5, 429: 2}
        many = [f"mallory{number}@example.com" for number in range(7)]
        assert await attempts(many, ["172.17.0.1"] * 7) == {401: 5, 429: 2}
        assert await attempts(["somebody.else@example.com"], ["172.18.0.1"]) == {401: 1}
