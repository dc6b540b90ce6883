"""Access tokens: what is believed, what is refused, and what a rotation or an outage costs."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloudphone_shared.auth import ROLE_PERMISSIONS, Caller, TokenVerifier
from cloudphone_shared.errors import Forbidden, Unauthorized, Unavailable
from tests.conditions import eventually
from tests.signing import Signer

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(signer: Signer, clock: Clock) -> TokenVerifier:
    return signer.verifier(clock=clock)


def bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_a_token_names_its_caller_and_what_its_role_may_do(signer: Signer, verifier: TokenVerifier) -> None:
    user, tenant = uuid.uuid4(), uuid.uuid4()

    caller = await verifier.verify(bearer(signer.token(id=user, tenant=tenant, role="support", sessions=7)))

    assert (caller.id, caller.tenant_id, caller.role, caller.kind) == (str(user), str(tenant), "support", "user")
    assert (caller.data_scope, caller.sessions_version) == ("tenant", 7)
    assert caller.permissions == ROLE_PERMISSIONS["support"]


async def test_a_service_may_do_only_what_its_name_allows(signer: Signer, verifier: TokenVerifier) -> None:
    caller = await verifier.verify(signer.service("cache-worker")["Authorization"].encode())

    assert caller.may("changes:read")
    with pytest.raises(Forbidden):
        caller.require("users:read")


async def test_a_role_cannot_be_claimed_as_a_service(signer: Signer, verifier: TokenVerifier) -> None:
    caller = await verifier.verify(bearer(signer.token(kind="service", role="admin")))

    assert caller.permissions == frozenset()


def forged_by_a_stranger(signer: Signer) -> str:
    stranger = Signer()
    stranger.keys[signer.current] = stranger.keys.pop(stranger.current)
    return stranger.token(kid=signer.current)


def without_a_signature(signer: Signer) -> str:
    _, payload, _ = signer.token().split(".")
    return f"{encoded({'alg': 'none', 'kid': signer.current})}.{payload}."


def signed_with_the_public_key_as_a_secret(signer: Signer) -> str:
    public = signer.keys[signer.current].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    claims = jwt.decode(signer.token(), options={"verify_signature": False})
    return jwt.encode(claims, public, algorithm="HS256", headers={"kid": signer.current})


def with_another_payload(signer: Signer) -> str:
    header, _, signature = signer.token(role="customer").split(".")
    _, payload, _ = signer.token(role="admin").split(".")
    return f"{header}.{payload}.{signature}"


def with_its_own_key_in_the_header(signer: Signer) -> str:
    stranger = Signer()
    claims = jwt.decode(stranger.token(), options={"verify_signature": False})
    headers = {"kid": "mine", "jwk": stranger.jwks()["keys"][0]}
    return jwt.encode(claims, stranger.keys[stranger.current], algorithm="EdDSA", headers=headers)


def of_another_issuer(signer: Signer) -> str:
    return signer.token(iss="somebody-else")


def that_has_expired(signer: Signer) -> str:
    return signer.token(seconds=-1)


def without_an_end(signer: Signer) -> str:
    claims = jwt.decode(signer.token(), options={"verify_signature": False})
    del claims["exp"]
    return jwt.encode(claims, signer.keys[signer.current], algorithm="EdDSA", headers={"kid": signer.current})


def that_is_none(signer: Signer) -> str:
    return "not.a.token"


@pytest.mark.parametrize(
    "token",
    [
        forged_by_a_stranger,
        without_a_signature,
        signed_with_the_public_key_as_a_secret,
        with_another_payload,
        with_its_own_key_in_the_header,
        of_another_issuer,
        that_has_expired,
        without_an_end,
        that_is_none,
    ],
)
async def test_a_token_is_refused(token: Callable[[Signer], str], signer: Signer, verifier: TokenVerifier) -> None:
    await verifier.verify(bearer(signer.token()))

    with pytest.raises(Unauthorized):
        await verifier.verify(bearer(token(signer)))


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Basic abc", b"Bearer \xff\xfe", b"Bearer " + b"a" * 5000]
)
async def test_a_malformed_header_is_refused(header: bytes, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthorized):
        await verifier.verify(header)


async def test_a_known_token_ends_when_it_expires(signer: Signer, verifier: TokenVerifier, clock: Clock) -> None:
    header = bearer(signer.token(seconds=600))
    await verifier.verify(header)
    assert verifier.known(header) is not None

    clock.ahead = 601

    assert verifier.known(header) is None
    with pytest.raises(Unauthorized):
        await verifier.verify(header)


async def test_a_rotation_costs_nobody_a_refusal(signer: Signer, verifier: TokenVerifier, clock: Clock) -> None:
    old = bearer(signer.token())
    await verifier.verify(old)
    clock.ahead = 5

    signer.rotate()
    callers = await asyncio.gather(*(verifier.verify(bearer(signer.token())) for _ in range(20)), verifier.verify(old))

    assert all(isinstance(caller, Caller) for caller in callers)
    assert signer.fetched == 2


async def test_a_forger_cannot_make_the_keys_be_asked_for_again_and_again(
    signer: Signer, verifier: TokenVerifier
) -> None:
    await verifier.verify(bearer(signer.token()))
    stranger = Signer()

    refusals = await asyncio.gather(
        *(verifier.verify(bearer(stranger.token())) for _ in range(50)), return_exceptions=True
    )

    assert all(isinstance(refusal, Unauthorized) for refusal in refusals)
    assert signer.fetched <= 2


async def test_known_keys_serve_while_the_user_service_is_away(
    signer: Signer, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(bearer(signer.token()))
    signer.away = True
    clock.ahead = 7200

    caller = await verifier.verify(bearer(signer.token(seconds=9000)))

    assert caller.role == "admin"


async def test_without_any_key_the_answer_is_that_it_is_unavailable(signer: Signer, verifier: TokenVerifier) -> None:
    signer.away = True

    for _ in range(2):
        with pytest.raises(Unavailable):
            await verifier.verify(bearer(signer.token()))


async def test_keys_missed_at_the_start_are_asked_for_by_the_first_request(
    signer: Signer, verifier: TokenVerifier
) -> None:
    signer.away = True
    starting = asyncio.create_task(verifier.prefetch())
    await eventually(lambda: signer.missed > 0)
    signer.away = False

    caller = await verifier.verify(bearer(signer.token()))
    await starting

    assert caller.role == "admin"


async def test_keys_are_learnt_as_soon_as_the_user_service_is_back(
    signer: Signer, verifier: TokenVerifier, clock: Clock
) -> None:
    signer.away = True
    with pytest.raises(Unavailable):
        await verifier.verify(bearer(signer.token()))
    signer.away = False
    clock.ahead = 1.5

    assert (await verifier.verify(bearer(signer.token()))).role == "admin"


async def test_a_service_token_serves_through_an_outage_until_it_ends(signer: Signer, clock: Clock) -> None:
    identity = signer.identity("bff-admin")
    identity._clock = clock  # pyright: ignore[reportPrivateUsage]
    first = await identity.token()
    signer.away = True

    clock.ahead = 3000
    assert await identity.token() == first
    clock.ahead = 3700
    with pytest.raises(Unavailable):
        await identity.token()

    signer.away = False
    clock.ahead = 3702
    assert await identity.token() != first


async def test_a_clock_that_is_set_back_after_a_failure_keeps_nobody_from_asking_again(
    signer: Signer, clock: Clock
) -> None:
    identity = signer.identity("bff-admin")
    identity._clock = clock  # pyright: ignore[reportPrivateUsage]
    clock.ahead, signer.away = 4000, True
    with pytest.raises(Unavailable):
        await identity.token()

    clock.ahead, signer.away = 0, False
    assert await identity.token()


async def test_a_refused_service_token_is_fetched_anew(signer: Signer) -> None:
    identity = signer.identity("bff-admin")
    first = await identity.token()

    identity.forget()

    assert await identity.token() != first


@pytest.mark.parametrize(
    ("scope", "same_tenant", "own", "seen"),
    [
        ("all", False, False, True),
        ("tenant", True, False, True),
        ("tenant", False, True, False),
        ("self", True, True, True),
        ("self", True, False, False),
        ("self", True, None, False),
    ],
)
async def test_the_data_scope_decides_whose_rows_are_seen(
    scope: str, same_tenant: bool, own: bool | None, seen: bool, signer: Signer, verifier: TokenVerifier
) -> None:
    me, here, elsewhere = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    caller = await verifier.verify(bearer(signer.token(id=me, tenant=here, scope=scope)))

    owner = None if own is None else me if own else uuid.uuid4()
    assert caller.sees(here if same_tenant else elsewhere, owner) is seen
