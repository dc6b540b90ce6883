"""Logging out, being suspended, and changing the password void what was signed before, at once and at both BFFs."""

import time
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.conditions import eventually
from tests.journeys.client import PASSWORD, Person, Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio


async def _log_out(admin: Staff, member: Person) -> None:
    await member.write("POST", "/auth/logout")


async def _suspend(admin: Staff, member: Person) -> None:
    await admin.write("POST", f"/admin/users/{member.ids['user']}/suspend", {"reason": "because"})


async def _change_password(admin: Staff, member: Person) -> None:
    passwords = {"currentPassword": PASSWORD, "newPassword": PASSWORD + "!"}
    await member.write("POST", "/my/password", passwords, at=member.platform.url("bff-user"))


@pytest.mark.parametrize("end", [_log_out, _suspend, _change_password], ids=["logout", "suspension", "password"])
async def test_tokens_are_void_at_once_at_both_bffs(
    platform: OnNats, admin: Staff, end: Callable[[Staff, Person], Awaitable[None]]
) -> None:
    """An administrator may enter at both; proven hits in front of the app are no way round it."""
    user = await admin.new_user("Sam", role="admin")
    tokens = platform.sign_in("bff-admin", user["email"], PASSWORD)
    async with Person(platform, "bff-admin", tokens["accessToken"], ids={"user": user["id"]}) as member:
        doors = [f"{at}/admin/users/{user['id']}" for at in platform.urls("bff-admin")]
        doors += [f"{at}/my/profile" for at in platform.urls("bff-user")]
        for door in doors * 2:
            assert (await member.read(door)).status_code == 200
        await end(admin, member)
        ended = time.monotonic()

        async def all_closed() -> bool:
            return {(await member.read(door, carry=False)).status_code for door in doors} == {401}

        await eventually(all_closed)
        print(f"\nvoid at {len(doors)} processes after {(time.monotonic() - ended) * 1000:.0f} ms")
        again = await member.http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert again.status_code in (401, 403), again.text


async def test_a_refresh_token_used_again_later_closes_the_session(platform: OnNats, customer: Person) -> None:
    """The one just replaced is good for moments more: its answer may have been lost."""

    async def refreshed(token: str) -> httpx.Response:
        return await customer.http.post("/auth/refresh", json={"refreshToken": token})

    first = platform.sign_in("bff-user", customer.email, PASSWORD)["refreshToken"]
    second = (await refreshed(first)).json()["refreshToken"]
    third = (await refreshed(second)).json()["refreshToken"]
    stolen = await refreshed(first)
    assert (stolen.status_code, stolen.json()["code"]) == (401, "refresh-token-reused")
    assert (await refreshed(third)).status_code == 401
