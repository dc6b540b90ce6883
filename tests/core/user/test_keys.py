"""Signing keys: published before they sign, and as long as a token of theirs lives; sealed where they are stored."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from sqlalchemy import text

from cloudphone_core.user.keys import (
    PUBLISHED_AFTER,
    PUBLISHED_BEFORE,
    SIGNS_FOR,
    Sealer,
    published_keys,
    rotate_keys,
    tend_keys,
    withdraw_key,
)
from cloudphone_core.user.tokens import SERVICE_TOKEN_SECONDS, KeyRing
from cloudphone_shared.auth import TokenVerifier
from cloudphone_shared.database import Database

from .conftest import World

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)
SEALER = Sealer("a secret")
LOOKS = 200


async def tend(database: Database, at: datetime, sealer: Sealer = SEALER) -> dict[str, str]:
    """Each published key's state after tending at `at`."""
    async with database.writing() as session:
        await tend_keys(session, sealer, at)
    async with database.reading() as session:
        return {key.kid: key.state for key in await published_keys(session)}


def in_state(keys: dict[str, str], state: str) -> list[str]:
    return [kid for kid, found in keys.items() if found == state]


async def test_every_key_is_published_before_it_signs_and_until_its_last_token_ends(database: Database) -> None:
    published: dict[str, datetime] = {}
    signed_until: dict[str, datetime] = {}
    at = START
    first = in_state(await tend(database, at), "active")
    for _ in range(LOOKS):
        keys = await tend(database, at)
        assert len(in_state(keys, "active")) == 1
        assert len(in_state(keys, "next")) == 1
        assert len(keys) <= 3
        for kid in keys:
            published.setdefault(kid, at)
        (active,) = in_state(keys, "active")
        if active not in first:
            assert at - published[active] >= PUBLISHED_BEFORE
        signed_until[active] = at
        for kid, last in signed_until.items():
            if at - last < timedelta(seconds=SERVICE_TOKEN_SECONDS):
                assert kid in keys
        at += timedelta(hours=10)

    assert len(signed_until) >= LOOKS * 10 / 24 / (SIGNS_FOR.days + 1)
    assert timedelta(seconds=SERVICE_TOKEN_SECONDS) < PUBLISHED_AFTER


async def test_many_processes_that_start_together_agree_on_one_key(database: Database) -> None:
    rings = [KeyRing(database, SEALER) for _ in range(5)]

    tokens = await asyncio.gather(*(ring.sign({"sub": "x"}) for ring in rings))

    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 1


async def test_a_rotation_under_load_refuses_nobody(world: World, database: Database) -> None:
    verifier = TokenVerifier(
        "http://user.test/.well-known/jwks.json", transport=world.http._transport, clock=world.clock
    )
    signers: set[str] = set()
    for _ in range(4):
        for _ in range(5):
            token = (await world.tokens(world.root_email))["accessToken"]
            signers.add(jwt.get_unverified_header(token)["kid"])
            await verifier.verify(b"Bearer " + token.encode())
            assert (
                await world.http.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
            ).status_code == 200
        async with database.writing() as session:
            await rotate_keys(session, Sealer("c" * 32), datetime.fromtimestamp(world.clock(), UTC))
        world.clock.advance(seconds=31)

    assert len(signers) == 4
    await verifier.close()


async def test_a_withdrawn_key_is_no_longer_published(database: Database) -> None:
    (old,) = in_state(await tend(database, START), "active")
    async with database.writing() as session:
        await rotate_keys(session, SEALER, START + timedelta(hours=1))
        await withdraw_key(session, old, START + timedelta(hours=1))

    assert old not in await tend(database, START + timedelta(hours=1))


async def test_private_keys_are_stored_sealed_and_forgotten_once_passive(database: Database) -> None:
    await tend(database, START)
    async with database.writing() as session:
        await rotate_keys(session, SEALER, START + timedelta(hours=1))

    async with database.reading() as session:
        rows = (await session.execute(text("SELECT kid, state, sealed FROM identity.signing_keys"))).all()
    for row in rows:
        assert (row.sealed is None) == (row.state not in ("active", "next"))
        if row.sealed is not None:
            key = SEALER.open(row.kid, row.sealed)
            assert key and key.private_bytes_raw() not in row.sealed
            assert Sealer("another secret").open(row.kid, row.sealed) is None
            assert SEALER.open("another key", row.sealed) is None


async def test_a_changed_secret_brings_new_keys_and_keeps_the_old_tokens_good(database: Database) -> None:
    before = await KeyRing(database, SEALER).sign({"sub": "x"})
    ring = KeyRing(database, Sealer("another secret"))

    after = await ring.sign({"sub": "x"})

    published = {key["kid"] for key in httpx.Response(200, content=await ring.jwks()).json()["keys"]}
    assert {jwt.get_unverified_header(token)["kid"] for token in (before, after)} <= published
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]


async def test_the_published_keys_hold_nothing_private(world: World) -> None:
    keys = (await world.http.get("/.well-known/jwks.json")).json()["keys"]

    assert {frozenset(key) for key in keys} == {frozenset({"kty", "crv", "x", "kid", "alg", "use"})}
