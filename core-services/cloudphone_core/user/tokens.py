"""Access tokens: who signs, what they say, and the keys to verify them by."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudphone_shared.auth import ISSUER
from cloudphone_shared.contracts.user import ServiceCredentials, ServiceToken
from cloudphone_shared.database import Database
from cloudphone_shared.errors import InvalidCredentials

from .keys import Sealer, public_jwk, published_keys, tend_keys
from .models import UserRow

SERVICE_TOKEN_SECONDS = 3600
_RELOAD_SECONDS = 30.0
"""How long a process goes on signing with a key that another has just made passive; it stays published for hours."""


class KeyRing:
    """This process's view of the signing keys: the one that signs, and the document that publishes them all."""

    def __init__(self, database: Database, sealer: Sealer, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._loading = asyncio.Lock()
        self._loaded_at = float("-inf")
        self._kid = ""
        self._private: Ed25519PrivateKey | None = None
        self._document = b""

    async def jwks(self) -> bytes:
        """The published keys (RFC 7517), read anew: a key made a moment ago is among them."""
        await self._load()
        return self._document

    async def sign(self, claims: Mapping[str, object]) -> str:
        if not 0 <= self._clock() - self._loaded_at < _RELOAD_SECONDS:
            async with self._loading:
                if not 0 <= self._clock() - self._loaded_at < _RELOAD_SECONDS:
                    await self._load()
        assert self._private is not None
        return jwt.encode(dict(claims), self._private, algorithm="EdDSA", headers={"kid": self._kid})

    async def _load(self) -> None:
        if not await self._read():
            async with self._database.writing() as session:
                await tend_keys(session, self._sealer, datetime.fromtimestamp(self._clock(), UTC))
            await self._read()

    async def _read(self) -> bool:
        async with self._database.reading() as session:
            keys = await published_keys(session)
        active = next((key for key in keys if key.state == "active"), None)
        private = self._sealer.open(active.kid, active.sealed) if active and active.sealed else None
        if active is None or private is None:
            return False
        self._kid, self._private = active.kid, private
        self._document = msgspec.json.encode({"keys": [public_jwk(key) for key in keys]})
        self._loaded_at = self._clock()
        return True


class OwnKeys(httpx.AsyncBaseTransport):
    """Lets this service verify tokens like any other, without a network between it and its own keys."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=await self._ring.jwks())


class Issuer:
    """Makes access tokens. `clock` in seconds since 1970."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        access_seconds: int,
        clients: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.access_seconds = access_seconds
        self._ring = ring
        self._clients = dict(clients)
        self._clock = clock

    async def user_token(self, user: UserRow, sessions_version: int) -> str:
        """Void once a higher version of the user's sessions is announced."""
        return await self._token(
            self.access_seconds,
            sub=str(user.id),
            tenant=str(user.tenant_id),
            role=user.role,
            scope=user.data_scope,
            sessions=sessions_version,
            kind="user",
        )

    async def service_token(self, credentials: ServiceCredentials) -> ServiceToken:
        """Raises InvalidCredentials, after the same comparison for a client that does not exist."""
        known = self._clients.get(credentials.client_id)
        if not _same(credentials.client_secret, known or "") or not known:
            raise InvalidCredentials("The client id or its secret is wrong")
        client = credentials.client_id
        token = await self._token(
            SERVICE_TOKEN_SECONDS, sub=client, tenant="", role=client, scope="all", sessions=0, kind="service"
        )
        return ServiceToken(access_token=token, expires_in=SERVICE_TOKEN_SECONDS)

    async def _token(self, seconds: int, **claims: object) -> str:
        at = int(self._clock())
        return await self._ring.sign({"iss": ISSUER, "iat": at, "exp": at + seconds, "jti": uuid4().hex, **claims})


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(known.encode()).digest())
