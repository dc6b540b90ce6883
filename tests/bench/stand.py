"""What the scenarios stand on: the whole platform on servers of its own, callers' tokens, BFF processes to measure."""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudphone_shared.auth import ISSUER
from tests.platform import GROUPS, Platform, Process
from tests.servers import Nats, Postgres, Server, Valkey, free_port

CALLERS = 2_000
CONNECTIONS = 64


class Effort(NamedTuple):
    """How long: `rounds` of `seconds` each; `quick` cuts everything else down to a smoke run."""

    rounds: int
    seconds: float
    quick: bool

    def less(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual


class Signer:
    """Signs the benchmark's callers: administrators, each with a limit of their own."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._kid = uuid.uuid4().hex
        public: dict[str, str] = jwt.algorithms.OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwk = json.dumps({**public, "kid": self._kid, "alg": "EdDSA", "use": "sig"})

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": str(uuid.uuid4()), "tenant": "", "role": "admin", "scope": "all", "sessions": 0,
            "kind": "user", "iat": now, "exp": now + 3600,
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid})


def cpu_seconds(*servers: Server) -> float:
    """Used so far by these servers, their children included."""
    used = 0.0
    for server in servers:
        for process in server._tree():
            times = process.cpu_times()
            used += times.user + times.system
    return used


class BenchServer(Process):
    """The admin BFF with the routes it is compared with; `layer` l2 keeps nothing in the process itself."""

    def __init__(
        self, platform: Platform, jwk: str, layer: str, body_bytes: int = 2400, port: int | None = None
    ) -> None:
        self.bench_port = port or free_port()
        environment = {**platform.environment, "BENCH_JWK": jwk, "BENCH_BODY_BYTES": str(body_bytes)}
        environment["CLOUDPHONE_RATE_LIMITS"] = "1000/s,500000/min"
        super().__init__(("bff-admin",), environment, self.bench_port, [self.bench_port])
        self._layer = layer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.bench_port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.bench.server", str(self.bench_port), self._layer]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }


class Stand:
    """`tokens` are of callers whom only the BFFs know; `staff` is an administrator whom the services know as well.
    `devices` are those that somebody holds and that have two apps: views of about 2.1 KB. `users` are customers."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self.postgres, self.valkey, self.nats = Postgres(), Valkey(), Nats()
        self.signer = Signer()
        self.tokens = [self.signer.token() for _ in range(effort.less(CALLERS, 300))]
        self.staff: dict[str, str] = {}
        """As headers."""
        self.devices: list[str] = []
        self.users: list[str] = []
        self.view_bytes = 2400
        self._platform: Platform | None = None
        self._servers: list[Server] = []

    @property
    def platform(self) -> Platform:
        assert self._platform is not None
        return self._platform

    def start(self) -> None:
        for server in (self.postgres, self.valkey, self.nats):
            server.start()
        groups = {name: units for name, units in GROUPS.items() if not name.startswith("bff")}
        # Nothing happens here but what a scenario does: no warm-up by schedule, and no token that runs out.
        settings = {"CLOUDPHONE_WARMUP_SCHEDULE": "0 0 1 1 *", "CLOUDPHONE_ACCESS_TOKEN_SECONDS": "7200"}
        self._platform = Platform(
            self.postgres, self.valkey.url, self.nats.url, groups=groups, bff_admins=0, bff_users=0, settings=settings
        )
        self._platform.start()

    async def prepare(self) -> None:
        async with aiohttp.ClientSession() as http:
            self.staff = await self._administrator(http)
            self.devices = (await self._devices(http))[: self.effort.less(200, 40)]
            self.users = await self._users(http)
        async with self.bff("l1") as bff:
            _, body, _ = await self.read(bff, self.devices[0])
        self.view_bytes = len(body)

    def remove(self) -> None:
        for server in self._servers:
            server.remove()
        if self._platform is not None:
            self._platform.remove()
        for server in (self.postgres, self.valkey, self.nats):
            server.remove()

    def serve(self, server: Server) -> None:
        """Starts it; it ends with the benchmark at the latest."""
        self._servers.append(server)
        server.start()

    @asynccontextmanager
    async def bff(self, layer: str, *, usual_port: bool = False) -> AsyncIterator[BenchServer]:
        """A BFF that has just started, its feeds heard; on the port that the other processes know it by, if need be."""
        port = self.platform.base + 10 if usual_port else None
        server = BenchServer(self.platform, self.signer.jwk, layer, self.view_bytes, port)
        self._servers.append(server)
        try:
            await asyncio.to_thread(server.start)
            yield server
        finally:
            await asyncio.to_thread(server.remove)
            self._servers.remove(server)

    async def read(self, bff: BenchServer, device: str) -> tuple[int, bytes, Mapping[str, str]]:
        """One device's screen: status, body, headers."""
        headers = {"Authorization": f"Bearer {self.tokens[0]}"}
        url = f"{bff.url}/admin/devices/{device}"
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
            return answer.status, await answer.read(), answer.headers

    async def fill(self, url: str, paths: Sequence[str]) -> list[Mapping[str, str]]:
        """Reads every path once, four at a time, so that what follows meets hits. The answers' headers, in order."""
        slots = asyncio.Semaphore(4)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.tokens[0]}"}) as http:

            async def read(path: str) -> Mapping[str, str]:
                async with slots, http.get(url + path) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{url}{path} answered {answer.status}: {body[:300]!r}")
                    return answer.headers

            return list(await asyncio.gather(*(read(path) for path in paths)))

    async def forget(self, *patterns: str) -> None:
        """Deletes the keys of these patterns from Redis, a thousand at a time."""
        for pattern in patterns:
            await self.redis("EVAL", _FORGET, 0, pattern)

    async def redis(self, *command: str | bytes | int) -> Any:
        """One command's reply. Raises RuntimeError with Redis' error."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.valkey.port)
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
        writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
        try:
            return await _reply(reader)
        finally:
            writer.close()

    async def _administrator(self, http: aiohttp.ClientSession) -> dict[str, str]:
        account = self.platform.account("admin")
        credentials = {"email": account["email"], "password": account["password"]}
        async with http.post(f"{self.platform.url('user')}/v1/auth/login", json=credentials) as answer:
            token = (await answer.json())["data"]["accessToken"]
        return {"Authorization": f"Bearer {token}"}

    async def _devices(self, http: aiohttp.ClientSession) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "100", "assigned": "true", **({"cursor": cursor} if cursor else {})}
            page = await self.ask(http, "device", "/v1/devices", params)
            ids = {"ids": ",".join(page["items"])}
            counts = (await self.ask(http, "app", "/v1/devices/installation-counts", ids))["found"]
            found += [device for device in page["items"] if counts[device]["data"] == 2]
            if (cursor := page["nextCursor"]) is None:
                return found

    async def _users(self, http: aiohttp.ClientSession) -> list[str]:
        page = await self.ask(http, "user", "/v1/users", {"limit": "100", "role": "customer"})
        return [user["id"] for user in page["items"]]

    async def ask(
        self, http: aiohttp.ClientSession, service: str, path: str, params: Mapping[str, str] | None = None
    ) -> Any:
        """A service's own answer, asked directly."""
        async with http.get(self.platform.url(service) + path, params=params, headers=self.staff) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{service}{path} answered {answer.status}: {body[:300]!r}")
            return json.loads(body)["data"]


_FORGET = """
local cursor, deleted = '0', 0
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = found[1]
  if #found[2] > 0 then deleted = deleted + redis.call('UNLINK', unpack(found[2])) end
until cursor == '0'
return deleted
"""


async def _reply(reader: asyncio.StreamReader) -> Any:
    line = (await reader.readline()).rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"*":
        return [await _reply(reader) for _ in range(int(rest))]
    if kind != b"$":
        return rest
    if rest == b"-1":
        return None
    return (await reader.readexactly(int(rest) + 2))[:-2]
