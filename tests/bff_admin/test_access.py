"""The console is for staff, each role with what it may do; a session that ended opens nothing."""

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from cloudphone_bff_admin.routes import HANDLERS
from cloudphone_shared.ids import uuid7
from tests.bff_admin.conftest import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio

OPERATIONS = [
    (method, path)
    for handler in HANDLERS
    if isinstance(handler, HTTPRouteHandler)
    for method in handler.http_methods
    for path in handler.paths
    if path.startswith("/admin")
]


def filled(path: str) -> str:
    """A path's parameters filled with an id that nobody has, or a number."""
    return "/".join(_filling(piece) for piece in path.split("/"))


def _filling(piece: str) -> str:
    if not piece.startswith("{"):
        return piece
    return "1" if piece.endswith(":int}") else str(uuid7())


def code_of(answer: httpx.Response) -> str:
    """A HEAD has no body to say it in."""
    status = {401: "unauthorized", 403: "forbidden"}
    return answer.json()["code"] if answer.content else status.get(answer.status_code, "")


async def test_without_a_token_every_route_is_401(console: Console) -> None:
    for method, path in OPERATIONS:
        answer = await console.ask(method, filled(path), by={})
        assert (answer.status_code, code_of(answer)) == (401, "unauthorized"), (method, path)


async def test_a_customer_is_403_on_every_route(console: Console, services: Services) -> None:
    customer = await services.member("customer")
    for method, path in OPERATIONS:
        answer = await console.ask(method, filled(path), by=customer)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden"), (method, path)


async def test_a_customer_is_403_also_on_what_staff_has_warmed(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    device = await services.device(owner=ana)
    path = f"/admin/devices/{device['id']}"
    await console.seen(path)
    as_ana = await services.signed_in(ana["email"])
    assert (await console.get(path, by=as_ana)).status_code == 403


async def test_a_forged_token_is_401(console: Console, services: Services) -> None:
    token = services.root["Authorization"]
    for wrong in (token[:-4] + "AAAA", "Bearer x", "Basic abc", "Bearer " + "a" * 5000):
        assert (await console.get("/admin/devices", by={"Authorization": wrong})).status_code == 401


async def test_support_may_not_delete(console: Console, services: Services) -> None:
    device = await services.device()
    support = await services.member("support")
    assert (await console.ask("DELETE", f"/admin/devices/{device['id']}", by=support)).status_code == 403


async def test_a_token_is_void_once_its_session_was_closed(console: Console, services: Services) -> None:
    device = await services.device()
    path = f"/admin/devices/{device['id']}"
    support = await services.member("support")
    await console.seen(path, by=support)
    assert (await console.ask("POST", "/auth/logout", by=support)).status_code == 204
    assert (await console.get(path, by=support)).status_code == 401


async def test_a_suspension_bites_through_the_feed(console: Console, services: Services) -> None:
    account = await services.user("Sam", role="support")
    sam = await services.signed_in(account["email"])
    await console.seen("/admin/cache", by=sam)
    await services.ask("POST", "user", f"/v1/users/{account['id']}/suspend", {"reason": "left"})

    async def refused() -> bool:
        return (await console.get("/admin/cache", by=sam)).status_code == 401

    await eventually(refused)
