"""The whole platform for an experiment: servers, services, workers and several processes of each BFF, gone at its end.

Every group is a process of its own, so that each can be killed or frozen alone. What one process asks a service goes
through a proxy, so that it can be held up.
"""

import asyncio
import math
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from cloudphone_cache.redis import parse, patient_client
from cloudphone_deploy import embedded, ports
from cloudphone_deploy.consistency import clocks, proxy, rabbitmq, store
from cloudphone_deploy.consistency.parts import Process
from cloudphone_deploy.demo import Account, Demo
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import DataFolder, Secrets
from cloudphone_deploy.nursery import Nursery
from cloudphone_deploy.supervisor import Program, launched, tail
from cloudphone_deploy.surroundings import surroundings
from cloudphone_shared.settings import PORTS, Databases, Redis, load

SERVICES = ("user", "device", "app", "billing")
GROUPS: Mapping[str, Sequence[str]] = {
    "services": SERVICES,
    "workers": tuple(f"{service}-worker" for service in SERVICES),
    "cache-worker": ("cache-worker",),
}
"""What shares a process; each process of a BFF is one of its own."""

SETTINGS = {
    "CLOUDPHONE_RATE_LIMITS": "1000000/s,10000000/min",
    "CLOUDPHONE_LOGIN_RATE_LIMITS": "100000/min",
    "CLOUDPHONE_WARMUP_SCHEDULE": "0 0 1 1 *",
    "CLOUDPHONE_TRUSTED_PROXIES": "127.0.0.1",
}
"""Limits out of reach, no warm-up by itself."""

NURSERY = ("-m", "cloudphone_deploy.nursery_process")
HEALTHY_SECONDS = 120.0
YOUNG_SECONDS = 2.0
_WIDTH = 120
_PROXIES, _RABBITMQ, _MORE_ADMINS, _MORE_USERS = 40, 50, 60, 80
_AGES = re.compile(rb'cloudphone_cache_feed_age_seconds{.*service="(.*?)".*} (.*)').findall
# What a crash of the machine would lose is of no interest here.
_CARELESS = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]


class Laboratory:
    """`program` is the Python program that processes are forked from, in place of the nursery, by the same orders.

    Nothing of the caller's own settings is taken over. `folder` is made when it is missing, and stays.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bffs: int = 2,
        bus: Literal["nats", "rabbitmq"] = "nats",
        redis: store.Kind = "single",
        program: Sequence[str] = NURSERY,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = DataFolder(folder)
        self.bus = bus
        self.kind: store.Kind = redis
        self.shares: Sequence[str] = ()
        """Of what Redis stores: each is led by one of its servers."""
        self.processes: dict[str, Process] = {}
        self.servers: dict[str, Process] = {}
        self.environment: dict[str, str] = {}
        """Complete, as every process of the platform has it."""
        self._bffs = bffs
        self._program = program
        self._settings = dict(settings or {})
        self._demo = Demo()
        self._base = 0
        self._nursery: Nursery | None = None
        self._held = ExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    @property
    def bff_admins(self) -> list[str]:
        """Base URLs."""
        return self._urls("bff-admin")

    @property
    def bff_users(self) -> list[str]:
        return self._urls("bff-user")

    @property
    def redis_url(self) -> str:
        return load(Redis, env=self.environment).redis_url

    @property
    def bus_url(self) -> str:
        return self.environment["CLOUDPHONE_BUS_URL"]

    @property
    def accounts(self) -> list[Account]:
        """Those of the demo, with their passwords."""
        return self._demo.accounts

    def url(self, service: str) -> str:
        """Of a BFF's process by its name, or of `user`, `device`, `app`, `billing`, `cache-worker`, past the proxy."""
        process = self.processes.get(service)
        if process is not None and process.url:
            return process.url
        return f"http://127.0.0.1:{self._base + PORTS[service]}"

    def database_url(self, service: str) -> str:
        return load(Databases, env=self.environment).url_of(service)

    def administrator(self) -> tuple[str, str]:
        """Email and password of an administrator of all tenants."""
        account = next(each for each in self.accounts if each.role == "admin")
        return account.email, account.password

    def part(self, name: str) -> Process:
        """A process or server by its name. Raises KeyError."""
        return self.processes.get(name) or self.servers[name]

    @asynccontextmanager
    async def redis(self) -> AsyncGenerator[Any]:
        """A client of redis-py at the master, whose replies are bytes."""
        client = patient_client(parse(self.redis_url), read_timeout=10, name="cloudphone-laboratory")
        try:
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def masters(self) -> AsyncGenerator[list[Any]]:
        """Such a client of each server that is written to."""
        address = parse(self.redis_url)
        async with AsyncExitStack() as stack:
            clients: list[Any] = []
            for share in self.shares:
                at = "127.0.0.1", await self._store.leads(share)
                alone = msgspec.structs.replace(address, nodes=(at,), cluster=False, master=None)
                clients.append(patient_client(alone, read_timeout=10, name="cloudphone-laboratory"))
                stack.push_async_callback(clients[-1].aclose)
            yield clients

    async def leader(self, share: str) -> Process:
        """The server that leads this share now. Raises RedisAway and OSError while there is none."""
        return self.servers[self._store.servers[await self._store.leads(share)]]

    async def part_now(self, target: str) -> Process:
        """The part of this name, or who leads this share."""
        return await self.leader(target) if target in self.shares else self.part(target)

    def set_clock(self, name: str, seconds: float) -> None:
        """The clock of this process is now so far ahead of the machine's, until it is started again."""
        clocks.move(self.folder.path, self.processes[name].pid, seconds)

    def write_feeds_of(self, services: Iterable[str]) -> None:
        """From its next start on, the cache worker knows of these services alone."""
        self._feed_services.write_text(msgspec.json.encode(list(services)).decode())

    async def cloudphone(self, *words: str) -> None:
        """Runs this command line beside the platform. Raises CommandError when it fails."""
        assert self._nursery
        log = self.folder.logs / f"{words[0]}.log"
        fork = await self._nursery.bear(words, log)
        if await fork.wait() != 0:
            raise CommandError(f"{' '.join(words)} failed; the log is {log}:\n{tail(log)}")

    async def hold_up(self, service: str, *, delay: float = 0.0, refuse: bool = False) -> None:
        """What the platform asks this service takes `delay` seconds more each way, or is refused. As before without."""
        port = self._base + _PROXIES + PORTS[service]
        await proxy.tell(self._base + _PROXIES, proxy.Order(port=port, delay=delay, refuse=refuse))

    async def until_healthy(self, within: float = HEALTHY_SECONDS) -> None:
        """Everything runs, and every BFF has heard of every service what was so after this call, less than 2 s ago.

        Raises CommandError that says what is not well.
        """
        began = time.monotonic()
        while ailing := [*await self._not_ready(), *await self._out_of_date(time.monotonic() - began)]:
            if time.monotonic() - began > within:
                raise CommandError(f"Not healthy within {within:.0f} s: {', '.join(ailing)}; see {self.folder.logs}.")
            await asyncio.sleep(0.05)

    async def _open(self) -> None:
        self._base = ports.free_base(_WIDTH)
        self._held.enter_context(self.folder.opened(self._base))
        secrets = self.folder.load_secrets()
        self._rabbitmq = rabbitmq.Node(self.folder.path / "rabbitmq", self._base + _RABBITMQ)
        self._store = store.store(self.kind, self.folder, secrets, self._base)
        self.shares = self._store.shares
        self.write_feeds_of(SERVICES)
        self.environment = surroundings(self.folder, self._given()).env
        command = [sys.executable, "-m", clocks.__name__, *self._program]
        self._nursery = Nursery(launched(command), self.environment, self.folder.logs / "nursery.log")
        await self._nursery.open()
        await self._start_servers(secrets)
        self._demo = await self._prepare()
        for name, units in GROUPS.items():
            self._add(name, units, None)
        for number in range(1, self._bffs + 1):
            for bff, more in (("bff-admin", _MORE_ADMINS), ("bff-user", _MORE_USERS)):
                self._add(_numbered(bff, number), [bff], None if number == 1 else self._base + more + number)
        await _all(process.start for process in self.processes.values())
        await self.until_healthy()

    async def _close(self) -> None:
        """Of the platform nothing is worth an orderly end."""
        for part in (*self.processes.values(), *self.servers.values()):
            part.go_on()
        if self._nursery:
            await self._nursery.close()
        await asyncio.gather(*(server.end() for name, server in self.servers.items() if name == "postgres"))
        await asyncio.gather(*(server.kill() for server in self.servers.values()))
        self.processes, self.servers = {}, {}
        self._held.close()

    @property
    def _feed_services(self) -> Path:
        return self.folder.path / "feed_services"

    def _given(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDPHONE_")}
        through = {
            f"CLOUDPHONE_{service.upper()}_URL": f"http://127.0.0.1:{self._base + _PROXIES + PORTS[service]}"
            for service in SERVICES
        }
        place = {"CLOUDPHONE_PORT_BASE": str(self._base), "CLOUDPHONE_DATA": str(self.folder.path)}
        bus = {"CLOUDPHONE_BUS_URL": self._rabbitmq.url} if self.bus == "rabbitmq" else {}
        redis = {"CLOUDPHONE_REDIS_URL": self._store.url} if self._store.url else {}
        feeds = {"CLOUDPHONE_FEED_SERVICES_FILE": str(self._feed_services)}
        return {**own, **SETTINGS, **through, **place, **bus, **redis, **feeds, **self._settings}

    async def _start_servers(self, secrets: Secrets) -> None:
        """Those that stand on another one after it."""
        folder, env = self.folder, self.environment
        postgres = embedded.postgres(folder, secrets, self._base + PORTS["postgres"], env)
        first, *later = self._store.stages(env)
        await self._start_together(
            msgspec.structs.replace(postgres, command=[*postgres.command, *_CARELESS]),
            *first,
            rabbitmq.epmd(self._rabbitmq, env)
            if self.bus == "rabbitmq"
            else embedded.nats(folder, secrets, self._base + PORTS["nats"], env),
            self._proxy(),
        )
        for programs in later:
            await self._start_together(*programs)
        await self._store.join()
        if self.bus == "rabbitmq":
            await self._start_together(rabbitmq.rabbitmq(self._rabbitmq, env))

    async def _start_together(self, *programs: Program) -> None:
        parts = {program.name: self._process(program) for program in programs}
        self.servers |= parts
        await _all(part.start for part in parts.values())

    def _proxy(self) -> Program:
        control = self._base + _PROXIES
        pairs = [f"{control + PORTS[service]}:{self._base + PORTS[service]}" for service in SERVICES]

        async def ready() -> bool:
            return ports.taken(control)

        command = [sys.executable, "-m", proxy.__name__, str(control), *pairs]
        return Program(name="proxy", command=command, ready=ready, env=self.environment)

    def _process(self, program: Program, url: str | None = None) -> Process:
        return Process(program, self.folder.logs / f"{program.name}.log", url=url)

    def _add(self, name: str, units: Sequence[str], port: int | None) -> None:
        answering = [port] if port else [self._base + PORTS[unit] for unit in units if unit in PORTS]
        log = self.folder.logs / f"{name}.log"
        began = 0

        def prepare() -> None:
            nonlocal began
            began = log.stat().st_size if log.exists() else 0

        async def ready() -> bool:
            if answering:
                return all([await _is_ready(each) for each in answering])
            return _says_since(log, began, b'"serving"')

        program = Program(
            name=name,
            command=["serve", *units, *(["--port", str(port)] if port else [])],
            ready=ready,
            env=self.environment,
            prepare=prepare,
            nursery=self._nursery,
            ready_seconds=HEALTHY_SECONDS,
        )
        self.processes[name] = self._process(
            program, f"http://127.0.0.1:{answering[0]}" if len(answering) == 1 else None
        )

    async def _prepare(self) -> Demo:
        answer = self.folder.path / "demo.json"
        await self.cloudphone("prepare", str(answer))
        return msgspec.json.decode(answer.read_bytes(), type=Demo)

    def _urls(self, bff: str) -> list[str]:
        return [self.url(_numbered(bff, number)) for number in range(1, self._bffs + 1)]

    async def _not_ready(self) -> list[str]:
        parts = [*self.servers.values(), *self.processes.values()]
        ready = await asyncio.gather(*(part.ready() for part in parts))
        return [f"{part.name} is not ready" for part, well in zip(parts, ready, strict=True) if not well]

    async def _out_of_date(self, seconds: float) -> list[str]:
        urls = [*self.bff_admins, *self.bff_users]
        ages = await asyncio.gather(*(_ages_of_feeds(_port_of(url)) for url in urls))
        young = min(seconds, YOUNG_SECONDS)
        return [
            f"{url} has heard nothing new of {service}"
            for url, known in zip(urls, ages, strict=True)
            for service in SERVICES
            if known.get(service, math.inf) >= young
        ]


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def _is_ready(port: int) -> bool:
    return b" 200 " in (await embedded.ask(port, _get("/health/ready")))[:16]


async def _ages_of_feeds(port: int) -> dict[str, float]:
    """Seconds by service."""
    return {name.decode(): float(age) for name, age in _AGES(await embedded.ask(port, _get("/metrics")))}


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: laboratory\r\nConnection: close\r\n\r\n".encode()


def _says_since(log: Path, offset: int, word: bytes) -> bool:
    if not log.exists():
        return False
    with log.open("rb") as file:
        file.seek(offset)
        return word in file.read()


def _numbered(bff: str, number: int) -> str:
    return bff if number == 1 else f"{bff}-{number}"


async def _all(starting: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Together; the first failure is raised once all have come to an end."""
    results = await asyncio.gather(*(start() for start in starting), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
