"""Signing in through the console."""

import pytest

from tests.bff_admin.conftest import Console, console_of
from tests.in_process import PASSWORD, Services
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


async def test_a_password_gives_tokens_and_a_refresh_token_gives_others(console: Console, services: Services) -> None:
    account = await services.user("Sam", role="support")
    answer = await console.ask("POST", "/auth/login", {"email": account["email"], "password": PASSWORD}, by={})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    tokens = answer.json()
    assert tokens["expiresIn"] > 0
    by = {"Authorization": f"Bearer {tokens['accessToken']}"}
    assert (await console.get("/admin/devices", by=by)).status_code == 200
    again = await console.ask("POST", "/auth/refresh", {"refreshToken": tokens["refreshToken"]}, by={})
    assert again.status_code == 200
    assert again.json()["refreshToken"] != tokens["refreshToken"]


async def test_a_wrong_password_is_401(console: Console) -> None:
    answer = await console.ask("POST", "/auth/login", {"email": "root@example.com", "password": "wrong"}, by={})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials")


async def test_sign_ins_are_limited_per_account_however_it_is_spelled(services: Services, valkey: Valkey) -> None:
    limits = {"login_rate_limits": "3/min,100/h", "trusted_proxies": "127.0.0.1"}
    async with console_of(services, valkey.url, **limits) as console:

        async def attempt(number: int, email: str) -> int:
            body = {"email": email, "password": "x"}
            address = f"192.0.2.{number}"
            return (await console.ask("POST", "/auth/login", body, by={}, x_forwarded_for=address)).status_code

        spellings = ["lim@example.com", "LIM@example.com", " lim@example.com", "Lim@Example.com"]
        assert [await attempt(n, email) for n, email in enumerate(spellings)] == [401, 401, 401, 429]


async def test_sign_ins_are_limited_per_address_that_a_trusted_proxy_names(services: Services, valkey: Valkey) -> None:
    async with console_of(
        services, valkey.url, login_rate_limits="2/min,100/h", trusted_proxies="127.0.0.1"
    ) as console:

        async def attempt(number: int, address: str) -> int:
            body = {"email": f"a{number}@example.com", "password": "x"}
            return (await console.ask("POST", "/auth/login", body, by={}, x_forwarded_for=address)).status_code

        assert [await attempt(n, "198.51.100.7") for n in range(3)] == [401, 401, 429]
        assert await attempt(9, "198.51.100.8") == 401
        # What the client itself writes stands before what the proxy adds, and is not believed.
        assert await attempt(10, "203.0.113.1, 198.51.100.7") == 429
