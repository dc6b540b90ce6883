"""Who calls and what they may do: access tokens verified against the user service's published keys.

Tokens are short-lived JWTs signed with Ed25519. Everybody verifies them; only the user service signs them.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Literal

import httpx
import jwt
import msgspec

from .errors import Forbidden, Unauthorized, Unavailable

ISSUER = "cloudphone"
JWKS_PATH = "/.well-known/jwks.json"
SERVICE_TOKEN_PATH = "/v1/service-tokens"  # noqa: S105

_KEYS_LIFE_SECONDS = 300
"""A key is published longer than this before it signs, and withdrawn no sooner than its last token's end."""

_READS = frozenset({
    "devices:read", "users:read", "apps:read", "orders:read", "usage:read", "plans:read", "payments:read",
    "invoices:read",
})  # fmt: skip
_STAFF_READS = _READS | {
    "dashboard:read", "cache:read", "warmups:read", "allocations:read", "fleet:read", "ledger:read", "sagas:read",
    "reports:read", "rules:read", "quotas:read",
}  # fmt: skip

ROLE_PERMISSIONS: Mapping[str, frozenset[str]] = {
    "admin": _STAFF_READS
    | {
        "devices:write", "devices:manage", "users:write", "users:manage", "apps:manage", "installations:write",
        "orders:write", "orders:manage", "plans:manage", "usage:record", "wallets:adjust",
        "payments:write", "payments:manage", "invoices:manage", "rules:manage", "sagas:manage", "quotas:manage",
        "cache:manage", "warmups:manage", "allocations:manage", "fleet:manage", "arrears:manage",
    },
    "operator": _STAFF_READS
    | {
        "devices:write", "devices:manage", "apps:manage", "installations:write", "cache:manage", "warmups:manage",
        "allocations:manage", "fleet:manage",
    },
    "support": _STAFF_READS | {"devices:write", "users:write", "orders:write"},
    "customer": _READS | {"devices:write", "users:write", "orders:write", "installations:write", "payments:write"},
}  # fmt: skip
"""`…:manage` creates, assigns and deletes; `…:write` changes what one sees. The data scope limits whose rows."""

SERVICE_PERMISSIONS: Mapping[str, frozenset[str]] = {
    "bff-admin": _READS | {"dashboard:read", "sagas:read"},
    "bff-user": _READS,
    "user": frozenset(),
    "device": frozenset({"users:read", "apps:download", "nodes:report"}),
    "app": frozenset({"devices:read"}),
    "scheduler": frozenset({"users:read", "devices:read"}),
    "billing": frozenset({"users:read", "devices:read", "quotas:reserve", "allocations:confirm"}),
    "cache-worker": frozenset({"changes:read", "warmups:run"}),
    "operations": frozenset({
        "warmups:read", "warmups:manage", "cache:read", "cache:manage", "changes:read", "devices:read", "users:read",
        "ledger:read", "sagas:read", "sagas:manage",
    }),
}  # fmt: skip
"""What each service's own token may do; `operations` is the command line's."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request. `tenant_id` is "" for services; `sessions_version` the version of the entity
    `sessions:<id>` at issue: a higher one announced voids the token. `expires_at` in seconds since 1970."""

    id: str
    tenant_id: str
    role: str
    kind: Literal["user", "service"]
    data_scope: Literal["all", "tenant", "self"]
    permissions: frozenset[str]
    sessions_version: int
    expires_at: float
    token: str

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def require(self, permission: str) -> None:
        if permission not in self.permissions:
            raise Forbidden(f"This needs the permission {permission}", permission=permission)

    def sees(self, tenant_id: object, owner_id: object | None) -> bool:
        """Whether a row of this tenant and owner is within the caller's data scope."""
        if self.data_scope == "all":
            return True
        if self.data_scope == "tenant":
            return str(tenant_id) == self.tenant_id
        return owner_id is not None and str(owner_id) == self.id


@cache
def tls() -> ssl.SSLContext:
    """For whoever may be reached over HTTPS: once in a process, as it takes tens of milliseconds to read all trusted
    authorities."""
    return httpx.create_ssl_context()


class TokenVerifier:
    """Verifies access tokens against the published keys: fetched when a key id is unknown, renewed behind the scenes.

    Verified tokens are remembered until they expire (at most `remember` of them). The user service is asked at most
    once a second, so a rotation costs nobody a 401 and a forger cannot make us hammer it; while it is away the keys
    known serve on.
    """

    def __init__(
        self,
        jwks_url: str,
        *,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
        remember: int = 50_000,
    ) -> None:
        self._url = jwks_url
        self._clock = clock
        self._http = httpx.AsyncClient(transport=transport, timeout=2.0, verify=tls())
        self._keys: dict[str, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._failure = ""
        self._asking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._known: dict[bytes, Caller] = {}
        self._remember = remember

    async def close(self) -> None:
        if self._refreshing:
            self._refreshing.cancel()
        await self._http.aclose()

    async def prefetch(self) -> None:
        """The keys before the first request needs them; tried again until the user service is there."""
        while not self._keys:
            async with self._asking:
                if not self._keys:
                    await self._fetch()
            if not self._keys:
                # The two services may start at once: a request that comes now asks for itself.
                self._tried_at = float("-inf")
                await asyncio.sleep(_RETRY_SECONDS)

    def known(self, authorization: bytes) -> Caller | None:
        """The caller of a header seen before, while it holds: no cryptography, no waiting."""
        caller = self._known.get(authorization)
        return caller if caller is not None and caller.expires_at > self._clock() else None

    async def verify(self, authorization: bytes) -> Caller:
        """The caller of `Bearer <token>`. Raises Unauthorized; Unavailable while an unknown key cannot be asked for."""
        if caller := self.known(authorization):
            return caller
        self._known.pop(authorization, None)
        scheme, _, raw = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not raw or len(raw) > 4096:
            raise Unauthorized("The Authorization header must be: Bearer <access token>")
        caller = self._caller(await self._claims(raw.decode("latin-1")), raw.decode("latin-1"))
        if len(self._known) >= self._remember:
            self._known.clear()
        self._known[authorization] = caller
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise Unauthorized("The access token is not a JWT") from None
        key = await self._key(kid if isinstance(kid, str) else "")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "iss"], "verify_iat": False, "verify_exp": False},
            )
        except jwt.PyJWTError:
            raise Unauthorized("The access token's signature or issuer is wrong") from None

    def _caller(self, claims: dict[str, Any], token: str) -> Caller:
        if not isinstance(claims["exp"], int | float) or claims["exp"] <= self._clock():
            raise Unauthorized("The access token has expired")
        kind = "service" if claims.get("kind") == "service" else "user"
        granted = SERVICE_PERMISSIONS if kind == "service" else ROLE_PERMISSIONS
        role = str(claims.get("role", ""))
        return Caller(
            id=str(claims["sub"]),
            tenant_id=str(claims.get("tenant", "")),
            role=role,
            kind=kind,
            data_scope=claims.get("scope") if claims.get("scope") in ("all", "tenant") else "self",  # pyright: ignore[reportArgumentType]
            permissions=granted.get(role, frozenset()),
            sessions_version=int(claims.get("sessions", 0)),
            expires_at=float(claims["exp"]),
            token=token,
        )

    async def _key(self, kid: str) -> Any:
        if kid not in self._keys:
            async with self._asking:
                if kid not in self._keys and self._may_ask():
                    await self._fetch()
        elif self._clock() - self._fetched_at > _KEYS_LIFE_SECONDS and self._may_ask():
            self._tried_at = self._clock()
            self._refreshing = asyncio.create_task(self._fetch())
        if kid in self._keys:
            return self._keys[kid]
        if self._failure:
            raise Unavailable("user", f"its signing keys cannot be fetched: {self._failure}")
        raise Unauthorized("The access token was signed by a key that is not ours")

    def _may_ask(self) -> bool:
        return not 0 <= self._clock() - self._tried_at < 1

    async def _fetch(self) -> None:
        try:
            answer = await self._http.get(self._url)
            answer.raise_for_status()
            self._keys = {key["kid"]: jwt.PyJWK(key).key for key in json.loads(answer.content)["keys"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            self._failure = repr(error)
        else:
            self._failure = ""
            self._fetched_at = self._clock()
        self._tried_at = self._clock()


_RETRY_SECONDS = 0.5


class ServiceIdentity:
    """A service's own narrow token, fetched with its client secret, renewed at half its life.

    Through an outage of the user service the present token serves until it expires.
    """

    def __init__(
        self,
        name: str,
        secret: str,
        user_url: str,
        *,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._secret = secret
        self._http = httpx.AsyncClient(base_url=user_url, transport=transport, timeout=2.0, verify=tls())
        self._clock = clock
        self._token = ""
        self._renew_at = self._expires_at = self._retry_at = 0.0
        self._failure = ""
        self._fetching: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._fetching:
            self._fetching.cancel()
        await self._http.aclose()

    async def token(self) -> str:
        """The bearer token. Raises Unavailable when there is none and none can be fetched."""
        now = self._clock()
        if now < min(self._renew_at, self._expires_at):
            return self._token
        # A clock that was set back meanwhile must not make the pause any longer.
        pausing = 0 < self._retry_at - now <= _RETRY_SECONDS
        if self._fetching is None or (self._fetching.done() and not pausing):
            self._fetching = asyncio.create_task(self._fetch())
        if now >= self._expires_at:
            await asyncio.shield(self._fetching)
        if now >= self._expires_at and self._failure:
            raise Unavailable("user", f"no service token for {self.name}: {self._failure}")
        return self._token

    def forget(self) -> None:
        """A service refused the token: fetch another at the next call."""
        self._renew_at = self._expires_at = 0.0

    async def _fetch(self) -> None:
        try:
            answer = await self._http.post(
                SERVICE_TOKEN_PATH, json={"clientId": self.name, "clientSecret": self._secret}
            )
            answer.raise_for_status()
            body = json.loads(answer.content)
            token, life = str(body["accessToken"]), float(body["expiresIn"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self._failure = repr(error)
            self._retry_at = self._clock() + _RETRY_SECONDS
            return
        now = self._clock()
        self._token, self._failure = token, ""
        self._expires_at = now + life - 5
        self._renew_at = now + life / 2


Bearer = Callable[[], Awaitable[str]]
"""Gives the token a call is made with: the service's own, or the caller's."""


async def anonymous() -> str:
    """For calls that need no token: a 401 or 403 is then about what was sent, not about who sends it."""
    return ""


def passing_on(caller: Caller) -> Bearer:
    async def token() -> str:
        return caller.token

    return token
