"""Signing in: tokens that name their caller, rotation, reuse, locks, and what ends a session."""

import asyncio
import re

import jwt
import pytest
from sqlalchemy import select, text

from cloudphone_core.user.models import RefreshTokenRow, UserRow
from cloudphone_shared import entities
from cloudphone_shared.database import Database, changes_after, versions_of

from .conftest import PASSWORD, World

pytestmark = pytest.mark.anyio


def claims(token: str) -> dict[str, object]:
    return jwt.decode(token, options={"verify_signature": False})


async def sessions_version(database: Database, user_id: str) -> int:
    entity = entities.sessions(user_id)
    async with database.reading() as session:
        return (await versions_of(session, entity))[entity]


async def test_an_access_token_says_who_calls(world: World) -> None:
    tenant = await world.tenant()
    ana = await world.user(tenantId=tenant, role="operator")

    tokens = await world.tokens(ana["email"])

    said = claims(tokens["accessToken"])
    assert {name: said[name] for name in ("iss", "sub", "tenant", "role", "scope", "kind", "sessions")} == {
        "iss": "cloudphone", "sub": ana["id"], "tenant": tenant, "role": "operator", "scope": "tenant",
        "kind": "user", "sessions": 0,
    }  # fmt: skip
    assert tokens["expiresIn"] == said["exp"] - said["iat"] == 600  # type: ignore[operator]
    assert jwt.get_unverified_header(tokens["accessToken"])["alg"] == "EdDSA"


async def test_an_address_is_compared_whatever_its_case(world: World) -> None:
    await world.user(email="Ana.Lima@Example.com")

    assert (await world.login(" ana.lima@example.COM")).status_code == 200


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(world: World) -> None:
    answers = [await world.login("nobody@example.com"), await world.login(world.root_email, "wrong password")]

    assert {answer.status_code for answer in answers} == {401}
    unknown, wrong = ({**answer.json(), "requestId": ""} for answer in answers)
    assert unknown == wrong


async def test_a_refresh_token_is_good_once(world: World) -> None:
    first = await world.tokens(world.root_email)

    second = (await world.refresh(first["refreshToken"])).json()["data"]

    assert second["refreshToken"] != first["refreshToken"]
    assert (await world.refresh(second["refreshToken"])).status_code == 200


async def test_the_token_just_replaced_is_good_for_ten_seconds_more(world: World) -> None:
    first = await world.tokens(world.root_email)
    second = (await world.refresh(first["refreshToken"])).json()["data"]

    world.clock.advance(seconds=9)
    again = await world.refresh(first["refreshToken"])

    assert again.status_code == 200
    assert (await world.refresh(second["refreshToken"])).status_code == 200
    assert (await world.refresh(again.json()["data"]["refreshToken"])).status_code == 200


async def test_a_token_used_again_later_closes_the_session(world: World, database: Database) -> None:
    ana, _ = await world.member()
    first = await world.tokens(ana["email"])
    other = await world.tokens(ana["email"])
    second = (await world.refresh(first["refreshToken"])).json()["data"]
    before = await sessions_version(database, ana["id"])

    world.clock.advance(seconds=11)
    reused = await world.refresh(first["refreshToken"])

    assert (reused.status_code, reused.json()["code"]) == (401, "refresh-token-reused")
    assert (await world.refresh(second["refreshToken"])).status_code == 401
    assert (await world.refresh(other["refreshToken"])).status_code == 200
    assert await sessions_version(database, ana["id"]) > before


async def test_a_token_replaced_two_rotations_ago_has_no_grace(world: World) -> None:
    first = await world.tokens(world.root_email)
    second = (await world.refresh(first["refreshToken"])).json()["data"]
    third = (await world.refresh(second["refreshToken"])).json()["data"]

    assert (await world.refresh(first["refreshToken"])).json()["code"] == "refresh-token-reused"
    assert (await world.refresh(third["refreshToken"])).status_code == 401


async def test_refreshes_made_at_once_all_succeed(world: World) -> None:
    first = await world.tokens(world.root_email)

    answers = await asyncio.gather(*(world.refresh(first["refreshToken"]) for _ in range(5)))

    assert [answer.status_code for answer in answers] == [200] * 5


async def test_a_session_ends_after_thirty_days_without_use(world: World) -> None:
    tokens = await world.tokens(world.root_email)
    world.clock.advance(days=29)
    tokens = (await world.refresh(tokens["refreshToken"])).json()["data"]
    world.clock.advance(days=29)
    tokens = (await world.refresh(tokens["refreshToken"])).json()["data"]

    world.clock.advance(days=31)

    assert (await world.refresh(tokens["refreshToken"])).status_code == 401


async def test_logging_out_ends_every_session(world: World, database: Database) -> None:
    ana, headers = await world.member()
    one, two = await world.tokens(ana["email"]), await world.tokens(ana["email"])

    answer = await world.http.post("/v1/auth/logout", headers=headers)

    assert answer.status_code == 200
    version = answer.json()["entities"][entities.sessions(ana["id"])]
    assert version == await sessions_version(database, ana["id"]) > 0
    for tokens in (one, two):
        assert (await world.refresh(tokens["refreshToken"])).status_code == 401
    assert claims((await world.tokens(ana["email"]))["accessToken"])["sessions"] == version


async def test_a_new_password_ends_every_session(world: World, database: Database) -> None:
    ana, headers = await world.member()
    tokens = await world.tokens(ana["email"])
    change = {"currentPassword": PASSWORD, "newPassword": "another good one"}

    assert (await world.http.post("/v1/users/me/password", json=change, headers=headers)).status_code == 200

    assert (await world.refresh(tokens["refreshToken"])).status_code == 401
    assert (await world.login(ana["email"])).status_code == 401
    assert (await world.login(ana["email"], "another good one")).status_code == 200
    assert await sessions_version(database, ana["id"]) > 0


async def test_a_new_password_needs_the_present_one(world: World) -> None:
    _, headers = await world.member()
    change = {"currentPassword": "not this one", "newPassword": "another good one"}

    answer = await world.http.post("/v1/users/me/password", json=change, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials")


async def test_who_is_suspended_neither_signs_in_nor_goes_on(world: World, database: Database) -> None:
    ana = await world.user()
    tokens = await world.tokens(ana["email"])

    answer = await world.suspend(ana["id"])

    assert answer.json()["data"]["status"] == "suspended"
    assert answer.json()["entities"][entities.sessions(ana["id"])] == await sessions_version(database, ana["id"])
    refused = await world.login(ana["email"])
    assert (refused.status_code, refused.json()["code"]) == (403, "account-suspended")
    assert (await world.login(ana["email"], "wrong password")).json()["code"] == "invalid-credentials"
    assert (await world.refresh(tokens["refreshToken"])).status_code == 401

    await world.http.post(f"/v1/users/{ana['id']}/reinstate", headers=world.root)
    assert (await world.login(ana["email"])).status_code == 200


@pytest.mark.parametrize("known", [True, False])
async def test_ten_failures_lock_the_address_for_a_while(known: bool, world: World) -> None:
    email = (await world.user())["email"] if known else "nobody@example.com"
    answers = [await world.login(email, "wrong password") for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}

    locked = await world.login(email)
    assert locked.status_code == 429
    assert 55 <= int(locked.headers["Retry-After"]) <= 60

    world.clock.advance(seconds=61)
    assert (await world.login(email)).status_code == (200 if known else 401)


async def test_locks_grow_but_never_beyond_a_quarter_of_an_hour(world: World) -> None:
    waits: list[int] = []
    for _ in range(10 + 7 * 5):
        answer = await world.login("nobody@example.com", "wrong password")
        if answer.status_code == 429:
            waits.append(int(answer.headers["Retry-After"]))
            world.clock.advance(seconds=waits[-1] + 1)
            await world.login("nobody@example.com", "wrong password")

    minutes = [round(wait / 60) for wait in waits]
    assert minutes[:6] == [1, 2, 4, 8, 15, 15][: len(minutes)]
    assert len(minutes) >= 6


async def test_attempts_made_at_once_are_all_counted(world: World) -> None:
    answers = await asyncio.gather(*(world.login(world.root_email, "wrong password") for _ in range(30)))

    assert sum(answer.status_code == 401 for answer in answers) == 10


async def test_signing_in_forgets_the_failures_before(world: World) -> None:
    for _ in range(3):
        for _ in range(9):
            await world.login(world.root_email, "wrong password")
        assert (await world.login(world.root_email)).status_code == 200


async def test_when_somebody_was_last_active_is_announced_whenever_it_changes(world: World, database: Database) -> None:
    ana = await world.user()
    tokens = await world.tokens(ana["email"])
    first = (await world.seen(ana["id"])).json()["data"]
    assert first["lastActiveAt"] is not None
    assert first["version"] > ana["version"]

    world.clock.advance(minutes=1)
    tokens = (await world.refresh(tokens["refreshToken"])).json()["data"]
    assert (await world.seen(ana["id"])).json()["data"] == first

    world.clock.advance(minutes=5)
    await world.refresh(tokens["refreshToken"])
    later = (await world.seen(ana["id"], await world.signed_in(world.root_email))).json()["data"]
    assert later["lastActiveAt"] > first["lastActiveAt"]
    assert later["version"] > first["version"]


async def test_neither_passwords_nor_tokens_are_stored_as_they_are(world: World, database: Database) -> None:
    tokens = await world.tokens(world.root_email)
    key = {"Idempotency-Key": "once"}
    body = {"name": "Ana", "email": "ana@example.com", "password": "a secret of hers"}
    await world.http.post("/v1/users", json=body, headers={**world.root, **key})

    async with database.reading() as session:
        hashes = (await session.scalars(select(UserRow.password_hash))).all()
        stored = (await session.scalars(select(RefreshTokenRow.sha256))).all()
        everything = ""
        for table in ("users", "refresh_tokens", "sessions", "outbox", "idempotency_keys", "signing_keys"):
            everything += str((await session.execute(text(f"SELECT t::text FROM identity.{table} t"))).all())

    assert all(hashed and hashed.startswith("$argon2id$") for hashed in hashes)
    assert all(len(digest) == 32 for digest in stored)
    assert tokens["refreshToken"] not in everything
    assert not re.search("a secret of hers|" + PASSWORD, everything)


async def test_a_registration_makes_a_customer_of_the_named_tenant(world: World, database: Database) -> None:
    tenant_id = await world.tenant("Acme")
    slug = (await world.http.get(f"/v1/tenants/{tenant_id}", headers=world.root)).json()["data"]["slug"]
    body = {"tenant": slug, "name": "Ana", "email": "ana@example.com", "password": PASSWORD}

    answer = await world.http.post("/v1/auth/register", json=body)

    ana = answer.json()["data"]
    assert answer.status_code == 201
    assert (ana["role"], ana["dataScope"], ana["tenantName"]) == ("customer", "self", "Acme")
    assert entities.users_of(tenant_id) in answer.json()["entities"]
    assert (await world.login("ana@example.com")).status_code == 200
    again = await world.http.post("/v1/auth/register", json={**body, "email": "ANA@example.com"})
    assert (again.status_code, again.json()["code"]) == (409, "already-exists")
    elsewhere = await world.http.post("/v1/auth/register", json={**body, "tenant": "nowhere"})
    assert elsewhere.status_code == 404
    async with database.reading() as session:
        changes = await session.scalars(text("SELECT type FROM identity.outbox ORDER BY id"))
        assert list(changes)[-2:] == ["user.created", "user.updated"]
        assert (await changes_after(session, 0)).position


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"email": "a@b.c"}',
        b'{"email": "a@b.c", "password": 7}',
        b'{"email": "a@b.c", "password": "x", "more": 1}',
        b'{"email": "a\\u0000@b.c", "password": "x"}',
        b'{"email": "a@b.c", "password": "\\ud800"}',
        b'{"email": "a@b.c", "password": "' + b"x" * 300 + b'"}',
    ],
)
async def test_what_is_no_sign_in_is_refused(body: bytes, world: World) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await world.http.post("/v1/auth/login", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
