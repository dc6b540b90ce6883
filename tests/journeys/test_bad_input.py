"""Bad input of every kind is answered with a 4xx problem document, and each process lives on."""

import base64
import json
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio

_JSON = {"Content-Type": "application/json"}
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "half a string": b'{"name": "',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "NaN": b'{"name": NaN}',
    "a wrong type": b'{"name": 1}',
    "a null name": b'{"name": null}',
    "an empty name": b'{"name": ""}',
    "a blank name": b'{"name": "   "}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "a control character": b'{"name": "a\\u0007b"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a long name": json.dumps({"name": "x" * 121}).encode(),
    "an unknown field": b'{"name": "Ana", "isRoot": true}',
    "a deep nest": b'{"name": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a huge body": b'{"name": "' + b"x" * 6_000_000 + b'"}',
    "a huge number": b'{"name": ' + b"9" * 5000 + b"}",
}
QUERIES = {
    "a cursor of nobody": "cursor=abc",
    "a forged cursor": "cursor=" + base64.urlsafe_b64encode(b"x" * 60).decode(),
    "an empty cursor": "cursor=",
    "a NUL in the cursor": "cursor=%00",
    "a limit of 0": "limit=0",
    "a limit too high": "limit=101",
    "a limit in words": "limit=ten",
    "an endless limit": "limit=" + "9" * 400,
    "an unknown sort": "sort=password",
    "an unknown parameter": "owner=1",
    "a NUL in the search": "search=%00",
    "a long search": "search=" + "x" * 101,
    "no UTF-8 in the state": "state=%ff",
    "an unknown state": "state=flying",
}


def _is_problem(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text[:300]}"
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["code"]


@pytest.mark.parametrize("what", BODIES)
async def test_a_bad_body(admin: Staff, bystander: Person, what: str) -> None:
    for person, method, path in (
        (admin, "PATCH", f"/admin/devices/{bystander.ids['device']}"),
        (admin, "POST", "/admin/users"),
        (bystander, "PATCH", "/my/profile"),
        (bystander, "POST", "/my/orders"),
    ):
        answer = await person.http.request(method, path, content=BODIES[what], headers=_JSON)
        _is_problem(answer, 413) if what == "a huge body" else _is_problem(answer, 400, 422)


async def test_a_body_that_is_no_json_by_its_own_word(admin: Staff, bystander: Person) -> None:
    for kind in ("text/xml", "application/x-www-form-urlencoded", "application/octet-stream"):
        answer = await bystander.http.patch("/my/profile", content=b"<a/>", headers={"Content-Type": kind})
        _is_problem(answer, 400, 415)


@pytest.mark.parametrize("what", QUERIES)
async def test_a_bad_query(admin: Staff, bystander: Person, what: str) -> None:
    for person, path in ((admin, "/admin/devices"), (bystander, "/my/devices"), (admin, "/admin/orders")):
        answer = await person.http.get(f"{path}?{QUERIES[what]}")
        if what == "an empty cursor" and answer.status_code == 200:
            continue
        _is_problem(answer, 400)


async def test_a_cursor_of_another_list_or_another_caller(platform: OnNats, admin: Staff) -> None:
    cursor = (await admin.json("/admin/devices?limit=1"))["nextCursor"]
    _is_problem(await admin.read(f"/admin/orders?cursor={cursor}"), 400)
    _is_problem(await admin.read(f"/admin/devices?cursor={cursor[:-4]}AAAA"), 400)
    _is_problem(await admin.read(f"/admin/devices?sort=-name&cursor={cursor}"), 400)


@pytest.mark.parametrize(
    "path", ["not-a-uuid", "%00", "..%2f..%2fetc", "1", "x" * 3000, "00000000-0000-0000-0000-00000000000g"]
)
async def test_an_id_that_is_none(admin: Staff, bystander: Person, path: str) -> None:
    for person, screen in ((admin, "/admin/devices/"), (bystander, "/my/devices/")):
        _is_problem(await person.read(screen + path), 400, 404)


async def test_a_method_or_a_path_that_is_not_there(admin: Staff, bystander: Person) -> None:
    for person, path in ((admin, "/admin/dashboard"), (bystander, "/my/home")):
        _is_problem(await person.http.delete(path), 405)
        _is_problem(await person.http.get(path + "/nowhere"), 404)


def _signed(claims: dict[str, object], *, algorithm: str = "EdDSA", key: Any = None, **headers: str) -> str:
    return jwt.encode(claims, key or Ed25519PrivateKey.generate(), algorithm=algorithm, headers=headers)


async def test_a_token_that_is_expired_forged_or_none(platform: OnNats, admin: Staff, bystander: Person) -> None:
    for person, path in ((admin, f"/admin/devices/{bystander.ids['device']}"), (bystander, "/my/home")):
        good = person.http.headers["Authorization"].removeprefix("Bearer ")
        assert (await person.read(path)).status_code == 200
        head, body, signature = good.split(".")
        claims = jwt.decode(good, options={"verify_signature": False})
        key_id = jwt.get_unverified_header(good)["kid"]
        more = json.dumps({**claims, "role": "admin", "permissions": ["cache:manage"]}).encode()
        raised = base64.urlsafe_b64encode(more).rstrip(b"=").decode()
        nothing = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
        forged = {
            "no header": None,
            "another scheme": "Basic " + base64.b64encode(b"a:b").decode(),
            "no token": "Bearer",
            "two tokens": "Bearer a b",
            "no JWT": "Bearer abc",
            "three parts of nothing": "Bearer a.b.c",
            "another's key": "Bearer " + _signed(claims, kid=key_id),
            "an unknown key": "Bearer " + _signed(claims, kid="unknown"),
            "expired": "Bearer " + _signed({**claims, "exp": int(time.time()) - 10}, kid=key_id),
            "raised by its bearer": f"Bearer {head}.{raised}.{signature}",
            "without a signature": f"Bearer {nothing}.{body}.",
            "cut short": f"Bearer {good[:-8]}",
            "signed with the public key's id": "Bearer " + _signed(claims, algorithm="HS256", key="k" * 32, kid=key_id),
            "no ASCII": b"Bearer \xff\xfe",
            "very long": "Bearer " + "a" * 7000,
        }
        async with Person(platform, "bff-admin" if person is admin else "bff-user", good) as stranger:
            for what, header in forged.items():
                del stranger.http.headers["Authorization"]
                stranger.http.headers.update({"Authorization": header} if header is not None else {})
                answer = await stranger.read(path)
                assert answer.status_code == 401, f"{what}: {answer.status_code} {answer.text[:200]}"
                _is_problem(answer, 401)
                stranger.http.headers["Authorization"] = ""


async def test_freshness_tokens_that_are_none_do_not_matter(bystander: Person) -> None:
    for token in ("", "abc", "A" * 5000, base64.urlsafe_b64encode(b"\x00" * 64).decode(), "\xff"):
        answer = await bystander.http.get("/my/home", headers={b"Fresh-After": token.encode("latin-1")})
        assert answer.status_code == 200, answer.text


async def test_a_key_of_a_view_that_there_is_not(admin: Staff) -> None:
    for key in ("", "nothing", "device:full:", "device:full:%00", "limit:{x}", "x" * 201):
        _is_problem(await admin.read(f"/admin/cache/view?key={key}"), 400, 404)
        _is_problem(await admin.http.delete(f"/admin/cache/view?key={key}"), 400, 404)
    unknown = await admin.json(f"/admin/cache/view?key=device:full:{uuid4()}")
    assert unknown["layer"] is None
