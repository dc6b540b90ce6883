"""`make bench`: what a hit, a miss and a change cost, each beside its own limit in the same run.

The whole platform is started on servers of its own; rounds alternate, medians are printed, and everything is written
to build/bench.json. `--rounds` and `--seconds` make it longer or shorter.
"""

import argparse
import asyncio
import json
import os
import platform as machine
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import jwt
import psutil
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudphone_shared.auth import ISSUER
from tests.bench.figures import Figures
from tests.bench.load import get_request, percentile, run
from tests.platform import GROUPS, Platform, Process
from tests.servers import Nats, Postgres, Valkey, free_port

CALLERS = 5_000
CONNECTIONS = 64
MISSES = 150
READERS = 4
TARGETS = ("constant", "constant_checked", "hit_l1", "hit_l2", "redis_py")


class Route(NamedTuple):
    server: str
    prefix: str
    by_device: bool


ROUTES = {
    "constant": Route("l1", "/bench/constant", by_device=False),
    "constant_checked": Route("l1", "/bench/constant-checked", by_device=False),
    "hit_l1": Route("l1", "/admin/devices", by_device=True),
    "hit_l2": Route("l2", "/admin/devices", by_device=True),
    "redis_py": Route("l1", "/bench/redis-py", by_device=True),
}


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


class BenchServer(Process):
    def __init__(self, platform: Platform, signer: Signer, layer: str, body_bytes: int) -> None:
        self.bench_port = free_port()
        environment = {**platform.environment, "BENCH_JWK": signer.jwk, "BENCH_BODY_BYTES": str(body_bytes)}
        environment["CLOUDPHONE_RATE_LIMITS"] = "1000/s,500000/min"
        super().__init__(("bff-admin",), environment, self.bench_port, [self.bench_port])
        self._layer = layer

    def cpu_seconds(self) -> float:
        assert self.process
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.bench.server", str(self.bench_port), self._layer]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }


async def administrator(platform: Platform, http: aiohttp.ClientSession) -> dict[str, str]:
    account = platform.account("admin")
    credentials = {"email": account["email"], "password": account["password"]}
    async with http.post(f"{platform.url('user')}/v1/auth/login", json=credentials) as answer:
        token = (await answer.json())["data"]["accessToken"]
    return {"Authorization": f"Bearer {token}"}


async def device_ids(platform: Platform, http: aiohttp.ClientSession, staff: dict[str, str]) -> list[str]:
    """Every device that somebody holds and that has two apps: their views have about 2.4 KB."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "100", "assigned": "true", **({"cursor": cursor} if cursor else {})}
        async with http.get(f"{platform.url('device')}/v1/devices", params=params, headers=staff) as answer:
            page = (await answer.json())["data"]
        ids = {"ids": ",".join(page["items"])}
        async with http.get(
            f"{platform.url('app')}/v1/devices/installation-counts", params=ids, headers=staff
        ) as answer:
            counts = (await answer.json())["data"]["found"]
        found += [device for device in page["items"] if counts[device]["data"] == 2]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


async def misses(
    figures: Figures, platform: Platform, port: int, devices: Sequence[str], token: str, staff: dict[str, str]
) -> None:
    """Each device once cold through the BFF, once along the slowest path of its services, in turn."""
    slowest: list[float] = []
    cold: list[float] = []
    async with aiohttp.ClientSession() as http:

        async def ask(service: str, path: str) -> Any:
            async with http.get(platform.url(service) + path, headers=staff) as answer:
                return json.loads(await answer.read())["data"]

        async def device_then_owner(device: str) -> None:
            owner = (await ask("device", f"/v1/devices/{device}"))["ownerId"]
            await ask("user", f"/v1/users/{owner}")

        for device in devices:
            began = time.perf_counter()
            async with http.get(
                f"http://127.0.0.1:{port}/admin/devices/{device}", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                await answer.read()
                assert answer.status == 200, await answer.text()
                assert "fwd=miss" in answer.headers["Cache-Status"], answer.headers["Cache-Status"]
            cold.append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            await asyncio.gather(
                device_then_owner(device),
                ask("app", f"/v1/devices/{device}/installations"),
                ask("billing", f"/v1/devices/{device}/usage"),
            )
            slowest.append((time.perf_counter() - began) * 1e3)
    settled = len(devices) // 5
    for start in range(settled, len(devices), settled):
        figures.add("miss_p50_ms", statistics.median(cold[start : start + settled]), "ms")
        figures.add("slowest_path_p50_ms", statistics.median(slowest[start : start + settled]), "ms")


async def hits(
    figures: Figures, servers: dict[str, BenchServer], devices: Sequence[str], tokens: Sequence[str],
    rounds: int, seconds: float,
) -> None:  # fmt: skip
    requests = {
        name: [
            get_request(f"{route.prefix}/{devices[n % len(devices)]}" if route.by_device else route.prefix, token)
            for n, token in enumerate(tokens)
        ]
        for name, route in ROUTES.items()
    }
    for server in servers.values():
        await _fill(server.bench_port, devices, tokens[0])
    for name in TARGETS:
        await run(
            "127.0.0.1", servers[ROUTES[name].server].bench_port, requests[name], connections=CONNECTIONS, seconds=2.0
        )
    for number in range(rounds):
        for name in TARGETS if number % 2 == 0 else reversed(TARGETS):
            server = servers[ROUTES[name].server]
            before = server.cpu_seconds()
            load = await run(
                "127.0.0.1", servers[ROUTES[name].server].bench_port, requests[name],
                connections=CONNECTIONS, seconds=seconds,
            )  # fmt: skip
            figures.add(f"{name}_cpu_us", (server.cpu_seconds() - before) / load.total * 1e6, "µs of the server's CPU")
            figures.add(f"{name}_rps", load.rps, "requests/s")
            figures.add(f"{name}_p50_ms", load.p50_ms, "ms")
            figures.add(f"{name}_p99_ms", load.p99_ms, "ms")
            if load.refused:
                print(f"  {name}: {load.refused} of {load.answers} answers were not 200", file=sys.stderr)
            if name.startswith("hit_"):
                wanted = sum(count for detail, count in load.details.items() if detail.endswith(name[4:]))
                figures.add(f"{name}_share", wanted / max(1, sum(load.details.values())), "of answers")


async def _fill(port: int, devices: Sequence[str], token: str) -> None:
    """Every view once, four at a time, so that the rounds meet hits."""
    slots = asyncio.Semaphore(4)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def read(device: str) -> None:
            async with slots, http.get(f"http://127.0.0.1:{port}/admin/devices/{device}") as answer:
                await answer.read()

        await asyncio.gather(*(read(device) for device in devices))


async def changes(figures: Figures, platform: Platform, redis_url: str, staff: dict[str, str]) -> None:
    """Users renamed at the user service; commit by the database's clock, heard by the slowest of four processes."""
    readers = [await _reader(platform, redis_url) for _ in range(READERS)]
    try:
        async with aiohttp.ClientSession() as http:
            users = await _users(platform, http, staff)
            async with asyncio.timeout(30):
                await asyncio.gather(*(_heard(reader, {("listening", 0)}) for reader in readers))
            for user in users:
                url = f"{platform.url('user')}/v1/users/{user}"
                async with http.patch(url, json={"name": f"Heard {user[-6:]}"}, headers=staff) as answer:
                    assert answer.status == 200, await answer.text()
                await asyncio.sleep(0.03)
        committed = await _commit_times(platform, users)
        async with asyncio.timeout(60):
            heard = await asyncio.gather(*(_heard(reader, set(committed)) for reader in readers))
    finally:
        for reader in readers:
            reader.kill()
            await reader.wait()
    took = sorted((max(each[change] for each in heard) - at) / 1e6 for change, at in committed.items())
    figures.add("commit_to_heard_p50_ms", percentile(took, 0.5), "ms")
    figures.add("commit_to_heard_p99_ms", percentile(took, 0.99), "ms")
    figures.add("commit_to_heard_changes", len(took), "changes")


async def _reader(platform: Platform, redis_url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.hearing", redis_url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, **platform.environment},
    )  # fmt: skip


async def _users(platform: Platform, http: aiohttp.ClientSession, staff: dict[str, str]) -> list[str]:
    """A hundred customers, none of whom has changed since the demo was made."""
    params = {"limit": "100", "role": "customer"}
    async with http.get(f"{platform.url('user')}/v1/users", params=params, headers=staff) as answer:
        return [user["id"] for user in (await answer.json())["data"]["items"]]


async def _commit_times(platform: Platform, users: Sequence[str]) -> dict[tuple[str, int], int]:
    """Nanoseconds since 1970 at which each user's latest version was committed."""
    connection = await asyncpg.connect(platform.databases["CLOUDPHONE_CORE_DATABASE_URL"])
    rows = await connection.fetch(
        "SELECT entity, version, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e9)::bigint AS at "
        "FROM identity.entity_versions WHERE entity = ANY($1)",
        [f"user:{user}" for user in users],
    )
    await connection.close()
    return {(row["entity"], row["version"]): row["at"] for row in rows}


async def _heard(reader: asyncio.subprocess.Process, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    assert reader.stdout
    found: dict[tuple[str, int], int] = {}
    while not wanted <= found.keys():
        at, entity, version = (await reader.stdout.readline()).split()
        found[entity.decode(), int(version)] = int(at)
    return found


async def measure(platform: Platform, valkey: Valkey, figures: Figures, rounds: int, seconds: float) -> None:
    signer = Signer()
    tokens = [signer.token() for _ in range(CALLERS)]
    servers: dict[str, BenchServer] = {}
    try:
        async with aiohttp.ClientSession() as http:
            staff = await administrator(platform, http)
            devices = await device_ids(platform, http, staff)
        servers["l1"] = BenchServer(platform, signer, "l1", 2400)
        servers["l1"].start()
        print(f"misses: {MISSES} cold devices, one after the other …", flush=True)
        await misses(figures, platform, servers["l1"].bench_port, devices[:MISSES], tokens[0], staff)
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{servers['l1'].bench_port}/admin/devices/{devices[0]}"
            async with http.get(url, headers={"Authorization": f"Bearer {tokens[0]}"}) as answer:
                size = len(await answer.read())
        figures.add("view_bytes", size, "bytes")
        servers["l1"].stop()
        for layer in ("l1", "l2"):
            servers[layer] = BenchServer(platform, signer, layer, size)
            servers[layer].start()
        print(
            f"hits: {rounds} rounds of {len(TARGETS)} × {seconds:g} s, {CONNECTIONS} connections, {CALLERS} callers …",
            flush=True,
        )
        await hits(figures, servers, devices, tokens, rounds, seconds)
        for server in servers.values():
            server.stop()
        print(f"changes: one after the other, heard by {READERS} processes …", flush=True)
        await changes(figures, platform, valkey.url, staff)
    finally:
        for server in servers.values():
            server.remove()


def report(figures: Figures) -> str:
    slowest = figures.median("slowest_path_p50_ms")
    over = figures.median("miss_p50_ms") - slowest
    return "\n".join(
        [
            "",
            f"{machine.platform()}, Python {machine.python_version()}, {os.cpu_count()} cores",
            f"view of {figures.median('view_bytes'):,.0f} bytes",
            "",
            figures.table(TARGETS, "constant_checked"),
            "",
            f"L2 hit, constant-checked    {figures.ratio('hit_l2_rps', 'constant_checked_rps'):.2f}   (≥ 0.7 expected)",
            f"L2 hit to redis-py          {figures.ratio('hit_l2_rps', 'redis_py_rps'):.1f} ×   (≥ 3 expected)",
            f"L1 hit of constant, bare    {figures.ratio('hit_l1_rps', 'constant_rps'):.2f}",
            f"miss p50                    {figures.median('miss_p50_ms'):.1f} ms",
            f"  services' slowest path    {slowest:.1f} ms, so {over:+.1f} ms   (≤ +4 expected)",
            f"commit → heard by all       p50 {figures.median('commit_to_heard_p50_ms'):.1f} ms   (≤ 15 expected)",
            f"                            p99 {figures.median('commit_to_heard_p99_ms'):.1f} ms",
        ]
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="per target and round")
    chosen = options.parse_args()
    postgres, valkey, nats = Postgres(), Valkey(), Nats()
    groups = {name: units for name, units in GROUPS.items() if not name.startswith("bff")}
    figures = Figures()
    platform: Platform | None = None
    try:
        for server in (postgres, valkey, nats):
            server.start()
        platform = Platform(postgres, valkey.url, nats.url, groups=groups, bff_admins=0, bff_users=0)
        print("starting the platform …", flush=True)
        platform.start()
        uvloop.run(measure(platform, valkey, figures, chosen.rounds, chosen.seconds))
    finally:
        if platform is not None:
            platform.remove()
        for server in (postgres, valkey, nats):
            server.remove()
    figures.save(Path("build/bench.json"))
    print(report(figures))


if __name__ == "__main__":
    main()
