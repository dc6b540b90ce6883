"""Lists: filters, order, search, pages that stay true while devices are made, and refusals of what is malformed."""

import uuid
from typing import Any
from urllib.parse import urlencode

import pytest

from cloudphone_shared.contracts.device import DEVICE_SORTS
from tests.core.device.conftest import Users, World

pytestmark = pytest.mark.anyio


async def page(world: World, by: dict[str, str] | None = None, **query: Any) -> dict[str, Any]:
    answer = await world.ask("GET", f"/v1/devices?{urlencode(query)}", by=by or world.operator)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def names(world: World, **query: Any) -> list[str]:
    ids = (await page(world, **query))["items"]
    cards = (await world.ask("GET", f"/v1/devices/batch?ids={','.join(ids)}")).json()["data"]["found"] if ids else {}
    return [cards[device_id]["data"]["name"] for device_id in ids]


async def test_every_filter_finds_what_it_says(world: World, users: Users) -> None:
    ana, node = users.user(world.tenant, "Ana"), await world.node()
    await world.device("one", owner=ana, tags=["vip", "eu"])
    await world.device("two", node=node, tags=["eu"])
    other = users.tenant()
    await world.device("three", tenant=other)

    assert await names(world, sort="name") == ["one", "two"]
    assert await names(world, state="allocated") == ["one"]
    assert await names(world, ownerId=ana.id) == ["one"]
    assert await names(world, nodeId=node["id"]) == ["two"]
    assert await names(world, tag="vip") == ["one"]
    assert await names(world, tag="eu", assigned="false") == ["two"]
    assert await names(world, assigned="true") == ["one"]
    assert await names(world, tenantId=other, by=world.admin) == ["three"]
    assert await names(world, state="running") == []


async def test_search_looks_for_exactly_the_text_in_name_and_owner_whatever_the_case(
    world: World, users: Users
) -> None:
    await world.device("Pixel_100%")
    await world.device("PixelX100")
    await world.device("Galaxy", owner=users.user(world.tenant, "Björn"))

    assert await names(world, search="pixel_") == ["Pixel_100%"]
    assert await names(world, search="0%") == ["Pixel_100%"]
    assert await names(world, search="PIXEL", sort="name") == ["PixelX100", "Pixel_100%"]
    assert await names(world, search="björn@EXAMPLE") == ["Galaxy"]
    assert await names(world, search="\\") == []


@pytest.mark.parametrize("field", DEVICE_SORTS)
async def test_every_sort_goes_both_ways_through_all_pages(world: World, users: Users, field: str) -> None:
    for n in range(7):
        owner = users.user(world.tenant, f"Owner {n % 2}") if n % 3 else None
        await world.device(f"phone {n % 4}", owner=owner)

    async def all_pages(sort: str) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            got = await page(world, sort=sort, limit=2, **({"cursor": cursor} if cursor else {}))
            found += got["items"]
            if not (cursor := got["nextCursor"]):
                return found

    upward, downward = await all_pages(field), await all_pages(f"-{field}")
    assert len(set(upward)) == len(upward) == 7
    assert downward == upward[::-1]


async def test_a_page_repeats_and_skips_nothing_when_devices_are_made_and_deleted_meanwhile(world: World) -> None:
    there = {(await world.device(f"old {n}"))["id"] for n in range(6)}
    first = await page(world, limit=3)
    for n in range(3):
        await world.device(f"new {n}")
    await world.ask("DELETE", f"/v1/devices/{first['items'][-1]}")

    second = await page(world, limit=3, cursor=first["nextCursor"])

    assert len(second["items"]) == 3
    assert set(first["items"]) | set(second["items"]) == there
    assert second["nextCursor"] is None


async def test_a_cursor_serves_its_own_list_and_caller_only(world: World, users: Users) -> None:
    for n in range(3):
        await world.device(f"phone {n}")
    cursor = (await page(world, limit=1))["nextCursor"]
    other = world.signer.headers(role="support", tenant=users.tenant())

    for query, by in (
        ({"sort": "name"}, world.operator),
        ({"search": "phone"}, world.operator),
        ({}, other),
    ):
        answer = await world.ask("GET", f"/v1/devices?{urlencode({**query, 'cursor': cursor})}", by=by)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=999999999999999999999", "limit=ten", "sort=secret", "sort=name;drop",
        "sort=" + "name," * 40, "cursor=x", "cursor=" + "A" * 5000, "cursor=%F0%9F%98%80", "state=gone", "ownerId=7",
        "assigned=maybe", "search=" + "a" * 101, "search=%00", "nodeId=%00", "tag=" + "a" * 41, "owner=7",
    ],
)  # fmt: skip
async def test_a_malformed_list_is_refused(world: World, query: str) -> None:
    answer = await world.ask("GET", f"/v1/devices?{query}")

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["requestId"]


@pytest.mark.parametrize("ids", ["", "7", "x,y", ",", "%00", ",".join(str(uuid.uuid4()) for _ in range(101))])
async def test_a_malformed_batch_is_refused(world: World, ids: str) -> None:
    answer = await world.ask("GET", f"/v1/devices/batch?ids={ids}")

    assert (answer.status_code, answer.json()["status"]) == (400, 400)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b'{"name":"a"}', b'{"name":7,"templateId":"TEMPLATE"}',
        b'{"name":"","templateId":"TEMPLATE"}', b'{"name":"a\\u0000b","templateId":"TEMPLATE"}',
        b'{"name":"' + b"a" * 121 + b'","templateId":"TEMPLATE"}', b'{"name":"a","templateId":"7"}',
        b'{"name":"a","templateId":"TEMPLATE","color":"red"}', b'{"name":"a","templateId":"TEMPLATE","tags":["a b"]}',
        b'{"name":"a","templateId":"TEMPLATE","tags":["\\u0000"]}',
        b'{"name":"a","templateId":"TEMPLATE","provider":"docker"}', b'{"name":"\xff","templateId":"TEMPLATE"}',
        b'{"name":"\\ud800","templateId":"TEMPLATE"}',
        b'{"name":"a","templateId":"00000000-0000-7000-8000-000000000000"}',
        b'{"name":"a","templateId":"TEMPLATE","nodeId":"00000000-0000-7000-8000-000000000000"}',
    ],
)  # fmt: skip
async def test_a_malformed_device_is_not_made(world: World, body: bytes) -> None:
    template = await world.template()
    headers = {**world.admin, "Content-Type": "application/json"}

    answer = await world.http.post(
        "/v1/devices", content=body.replace(b"TEMPLATE", template["id"].encode()), headers=headers
    )

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await page(world))["items"] == []


async def test_a_huge_body_is_too_large(world: World) -> None:
    answer = await world.ask("POST", "/v1/devices", {"name": "a" * 100_000})

    assert answer.status_code == 413


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"])
async def test_a_malformed_idempotency_key_is_refused(world: World, key: str) -> None:
    wanted = {"name": "Phone", "templateId": (await world.template())["id"]}
    headers = [(b"Idempotency-Key", key.encode()), (b"Authorization", world.admin["Authorization"].encode())]

    answer = await world.http.post("/v1/devices", json=wanted, headers=headers)

    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("path", ["/v1/devices/7", "/v1/devices/%2e%2e", "/v1/device", "/v1/devices/" + "a" * 3000])
async def test_an_id_that_is_none_is_not_found(world: World, path: str) -> None:
    assert (await world.ask("GET", path)).status_code == 404
