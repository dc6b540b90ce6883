"""Tokens for any caller, signed as the user service signs them, and the published keys to verify them by."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudphone_shared.auth import ISSUER, JWKS_PATH, SERVICE_TOKEN_PATH, ServiceIdentity, TokenVerifier
from cloudphone_shared.http.edge import Edge

USER_URL = "http://user.test"


class Signer:
    """Stands for the user service where only its keys and its service tokens matter.

    `transport` answers `/.well-known/jwks.json` and `/v1/service-tokens`; `fetched` counts the times keys were asked
    for; with `away` it answers nothing, and `missed` counts what was asked meanwhile.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Ed25519PrivateKey] = {}
        self.current = ""
        self.fetched = 0
        self.away = False
        self.missed = 0
        self.transport = httpx.MockTransport(self._answer)
        self.rotate()

    def rotate(self, *, publish_only: bool = False) -> str:
        """Publishes another key and, unless `publish_only`, signs with it from now on. Returns its id."""
        kid = uuid.uuid4().hex
        self.keys[kid] = Ed25519PrivateKey.generate()
        if not publish_only:
            self.current = kid
        return kid

    def verifier(self, **options: object) -> TokenVerifier:
        return TokenVerifier(USER_URL + JWKS_PATH, transport=self.transport, **options)  # type: ignore[arg-type]

    def identity(self, service: str) -> ServiceIdentity:
        return ServiceIdentity(service, "secret", USER_URL, transport=self.transport)

    def token(
        self,
        *,
        id: str | uuid.UUID | None = None,  # noqa: A002
        tenant: str | uuid.UUID = "",
        role: str = "admin",
        scope: str | None = None,
        sessions: int = 0,
        kind: str = "user",
        seconds: float = 600,
        kid: str | None = None,
        **claims: object,
    ) -> str:
        """`scope` is "all" for an admin, "self" for a customer and "tenant" for others unless it is given."""
        if scope is None:
            scope = {"admin": "all", "customer": "self"}.get(role, "tenant") if kind == "user" else "all"
        now = time.time()
        payload = {
            "iss": ISSUER, "sub": str(id or uuid.uuid4()), "tenant": str(tenant), "role": role, "scope": scope,
            "sessions": sessions, "kind": kind, "iat": int(now), "exp": int(now + seconds), "jti": uuid.uuid4().hex,
            **claims,
        }  # fmt: skip
        kid = kid or self.current
        return jwt.encode(payload, self.keys[kid], algorithm="EdDSA", headers={"kid": kid})

    def headers(self, **caller: object) -> dict[str, str]:
        """`Authorization` of a user: the arguments of `token`."""
        return {"Authorization": "Bearer " + self.token(**caller)}  # type: ignore[arg-type]

    def service(self, name: str) -> dict[str, str]:
        """`Authorization` of a service by its own name, such as `bff-admin`."""
        return self.headers(id=name, role=name, kind="service", scope="all")

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        found: list[dict[str, str]] = []
        for kid, key in self.keys.items():
            public = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
            found.append({**public, "kid": kid, "alg": "EdDSA", "use": "sig"})
        return {"keys": found}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            self.missed += 1
            raise httpx.ConnectError("nobody is listening", request=request)
        if request.url.path == JWKS_PATH:
            self.fetched += 1
            return httpx.Response(200, json=self.jwks())
        if request.url.path == SERVICE_TOKEN_PATH:
            client = msgspec.json.decode(request.content)["clientId"]
            token = self.token(id=client, role=client, kind="service", scope="all")
            return httpx.Response(200, json={"accessToken": token, "expiresIn": 3600})
        return httpx.Response(404, json={})


@asynccontextmanager
async def client_of(app: Edge, *, url: str = "http://app.test") -> AsyncIterator[httpx.AsyncClient]:
    """The app's client, without a network between; the app is started before and stopped after."""
    async with (
        app.litestar.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url) as client,  # type: ignore[arg-type]
    ):
        yield client
