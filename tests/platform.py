"""The whole platform as processes of its own, on the tests' servers: what the journeys and the benchmark look at."""

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from cloudphone_deploy.consistency import laboratory
from cloudphone_deploy.folder import CLIENTS
from cloudphone_shared.settings import PORTS
from tests.nursery import Nursery
from tests.phone.adb import Adb
from tests.phone.adb import running as adb_server
from tests.servers import Guard, Postgres, Server, free_base, free_port

GROUPS: Mapping[str, Sequence[str]] = {**laboratory.GROUPS, "bff-admin": ("bff-admin",), "bff-user": ("bff-user",)}
"""What shares a process unless a test wants otherwise."""

ASKED_AT_MOST = 5
"""Times that something is asked while the answer is 503: on a machine that stalls a service may be late."""


# One for all, since to make one takes longer than most requests; nothing is kept, since whoever is asked may be killed.
_HTTP = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


class Process(Server):
    """One `cloudphone serve`."""

    scheme = "http"
    starts_within = 180.0

    def __init__(
        self, names: Sequence[str], environment: Mapping[str, str], port: int | None, answering: list[int]
    ) -> None:
        super().__init__()
        self.names = names
        self._environment = {**environment, "HOME": str(self.folder)}
        self._option = port
        self._answering = answering

    def command(self) -> Sequence[str]:
        port = ["--port", str(self._option)] if self._option else []
        return [sys.executable, "-m", "cloudphone_deploy", "serve", *self.names, *port, "--data", str(self.folder)]

    def environment(self) -> dict[str, str]:
        return dict(self._environment)

    def ready(self) -> bool:
        if not self._answering:
            return '"serving"' in self.log
        return all(_is_ready(port) for port in self._answering)


def _is_ready(port: int) -> bool:
    try:
        return _HTTP.get(f"http://127.0.0.1:{port}/health/ready", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


class Forked(Process):
    """One that has imported everything before it begins."""

    def command(self) -> Sequence[str]:
        return super().command()[3:]

    def _spawn(self, command: Sequence[str], environment: dict[str, str]) -> Any:
        return Nursery.get().bear(command, environment, self.folder)


class Platform:
    """Databases made, migrated and filled with the demo, then every group as one process.

    `bff_admins` and `bff_users` processes of the BFFs; the first ones listen on the usual ports.
    """

    def __init__(
        self,
        postgres: Postgres,
        redis_url: str,
        bus_url: str,
        *,
        groups: Mapping[str, Sequence[str]] = GROUPS,
        bff_admins: int = 1,
        bff_users: int = 1,
        seven_databases: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.base = free_base(25)
        self.databases = _databases(postgres, apart=seven_databases)
        clients = {name: f"secret-of-{name}" for name in CLIENTS}
        self.environment = {
            "CLOUDPHONE_PORT_BASE": str(self.base),
            "CLOUDPHONE_REDIS_URL": redis_url,
            "CLOUDPHONE_BUS_URL": bus_url,
            "CLOUDPHONE_SERVICE_CLIENTS": json.dumps(clients),
            "CLOUDPHONE_FRESHNESS_KEY": "freshness-key-of-the-tests-only-1",
            "CLOUDPHONE_CURSOR_KEY": "cursor-key-of-the-tests-only-0001",
            "CLOUDPHONE_CARD_API_KEY": "sk_test_of-the-tests-only",
            "CLOUDPHONE_CARD_WEBHOOK_SECRETS": "whsec_of-the-tests-only",
            "CLOUDPHONE_RATE_LIMITS": "100000/s,1000000/min",
            "CLOUDPHONE_LOGIN_RATE_LIMITS": "100000/min",
            "CLOUDPHONE_ACCESS_TOKEN_SECONDS": "86400",
            # Each process has a data folder of its own; these two are of several.
            "CLOUDPHONE_PHONES_FOLDER": str(Guard.get().folder / f"farm-{self.base}"),
            "CLOUDPHONE_APP_STORAGE_URL": (Guard.get().folder / f"apps-{self.base}").as_uri(),
            **self.databases,
            **(settings or {}),
        }
        self.processes: dict[str, Process] = {}
        self._groups = groups
        self._bffs = {"bff-admin": bff_admins, "bff-user": bff_users}
        self._tokens: dict[tuple[str, str], str] = {}
        self.demo: dict[str, object] = {}

    def prepare(self) -> None:
        """Migrates and seeds."""
        folder = Guard.get().folder / f"prepare-{self.base}"
        folder.mkdir()
        demo = folder / "demo.json"
        if Nursery.get().bear(["prepare", str(demo)], self.environment, folder).wait(300):
            raise RuntimeError(f"prepare failed:\n{(folder / 'log').read_text()[-4000:]}")
        self.demo = json.loads(demo.read_bytes())

    def start(self) -> None:
        self.prepare()
        for name, units in self._groups.items():
            self.processes[name] = self._process(units)
        for bff, count in self._bffs.items():
            self.processes |= {name: self._process((bff,), port=free_port()) for name in _numbered(bff, 2, count)}
        _start(self.processes.values())

    @contextmanager
    def with_more(self, bff: str, count: int) -> Iterator[list[str]]:
        """The URLs of `count` processes of a BFF, those that run among them; the others end with the block."""
        more = {name: self._process((bff,), port=free_port()) for name in _numbered(bff, 2, count)}
        more = {name: process for name, process in more.items() if name not in self.processes}
        self.processes |= more
        try:
            _start(more.values())
            yield self.urls(bff)
        finally:
            for name in more:
                self.processes.pop(name).remove()

    @contextmanager
    def with_phones(self, home: Path) -> Iterator[tuple[Process, Adb]]:
        """The farm and an adb server, whose files go to `home`; both end with the block."""
        farm = self.processes["phones"] = self._process(("phones",))
        try:
            with adb_server(home, self.base + PORTS["adb"]) as adb:
                _start([farm])
                yield farm, adb
        finally:
            self.processes.pop("phones").remove()

    def _process(self, units: Sequence[str], port: int | None = None) -> Process:
        usual = [self.base + PORTS[unit] for unit in units if unit in PORTS]
        return Forked(units, self.environment, port, [port] if port else usual)

    def url(self, process: str) -> str:
        """`bff-admin`, `bff-admin-2`, `device` …"""
        running = self.processes.get(process)
        if running is not None and running._option:
            return f"http://127.0.0.1:{running._option}"
        return f"http://127.0.0.1:{self.base + PORTS[process]}"

    def urls(self, bff: str) -> list[str]:
        return [self.url(name) for name in self.processes if name == bff or name.startswith(f"{bff}-")]

    def account(self, role: str, tenant: str | None = None) -> dict[str, str]:
        """The first demo account of the role. Raises StopIteration."""
        accounts = self.demo["accounts"]
        assert isinstance(accounts, list)
        return next(one for one in accounts if one["role"] == role and tenant in (None, one["tenant"]))

    def login(self, bff: str, role: str, tenant: str | None = None) -> str:
        """An access token of the role's demo account; the same one when asked again."""
        account = self.account(role, tenant)
        known = bff, account["email"]
        if known not in self._tokens:
            self._tokens[known] = self.sign_in(bff, account["email"], account["password"])["accessToken"]
        return self._tokens[known]

    def sign_in(self, bff: str, email: str, password: str) -> dict[str, str]:
        """From an address of its own, where the platform trusts this one as a proxy."""
        headers = {"X-Forwarded-For": f"10.{next(_addresses)}.0.1"}
        credentials = {"email": email, "password": password}
        for _ in range(ASKED_AT_MOST):
            answer = _HTTP.post(f"{self.url(bff)}/auth/login", json=credentials, headers=headers)
            if answer.status_code != 503:
                break
        assert answer.status_code == 200, f"{email} could not sign in: {answer.status_code} {answer.text}"
        return answer.json()

    def log_of_errors(self) -> str:
        """What the processes logged as errors."""
        lines = [
            f"{name}: {line}"
            for name, process in self.processes.items()
            for line in process.log.splitlines()
            if '"level": "error"' in line or "Traceback" in line
        ]
        return "\n".join(lines)

    def remove(self) -> None:
        for process in self.processes.values():
            process.remove()


_addresses = itertools.count(1)


def _numbered(bff: str, first: int, last: int) -> list[str]:
    return [f"{bff}-{number}" for number in range(first, last + 1)]


def _start(processes: Iterable[Process]) -> None:
    """All at once."""
    processes = list(processes)
    for process in processes:
        process.process = process._spawn(process.command(), process.environment())
    for process in processes:
        _wait_for(process)


def _wait_for(process: Process) -> None:
    assert process.process
    deadline = time.monotonic() + process.starts_within
    while not process.ready():
        if process.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.names} did not start:\n{process.log[-4000:]}")
        time.sleep(0.05)


def _databases(postgres: Postgres, *, apart: bool) -> dict[str, str]:
    names = ("core", "billing", *(("user", "device", "app", "scheduler", "cache") if apart else ()))
    return {f"CLOUDPHONE_{name.upper()}_DATABASE_URL": postgres.create_database() for name in names}
