"""The whole platform as processes of its own, on the tests' servers: what the journeys and the benchmark look at."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import httpx

from cloudphone_shared.settings import PORTS
from tests.servers import Guard, Postgres, Server, free_port

SERVICES = ("user", "device", "app", "billing")
WORKERS = tuple(f"{service}-worker" for service in SERVICES)
GROUPS: Mapping[str, Sequence[str]] = {
    "services": SERVICES,
    "workers": WORKERS,
    "cache-worker": ("cache-worker",),
    "bff-admin": ("bff-admin",),
    "bff-user": ("bff-user",),
}
"""What shares a process unless a test wants otherwise."""


class Process(Server):
    """One `cloudphone serve`."""

    scheme = "http"
    starts_within = 60.0

    def __init__(
        self, names: Sequence[str], environment: Mapping[str, str], port: int | None, ports: list[int]
    ) -> None:
        super().__init__()
        self.names = names
        self._environment = {**environment, "HOME": str(self.folder)}
        self._option = port
        self._answering = ports

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
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def free_base() -> int:
    """A port base whose whole range is free."""
    while True:
        base = free_port()
        try:
            for offset in range(25):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base


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
        self.base = free_base()
        self.databases = _databases(postgres, apart=seven_databases)
        clients = {
            name: f"secret-of-{name}" for name in ("bff-admin", "bff-user", "cache-worker", "operations", *SERVICES)
        }
        self.environment = {
            "CLOUDPHONE_PORT_BASE": str(self.base),
            "CLOUDPHONE_REDIS_URL": redis_url,
            "CLOUDPHONE_BUS_URL": bus_url,
            "CLOUDPHONE_SERVICE_CLIENTS": json.dumps(clients),
            "CLOUDPHONE_FRESHNESS_KEY": "freshness-key-of-the-tests-only-1",
            "CLOUDPHONE_CURSOR_KEY": "cursor-key-of-the-tests-only-0001",
            "CLOUDPHONE_RATE_LIMITS": "100000/s,1000000/min",
            "CLOUDPHONE_LOGIN_RATE_LIMITS": "100000/min",
            **self.databases,
            **(settings or {}),
        }
        self.processes: dict[str, Process] = {}
        self._groups = groups
        self._bffs = {"bff-admin": bff_admins, "bff-user": bff_users}
        self.demo: dict[str, object] = {}

    def prepare(self) -> None:
        """Migrates and seeds."""
        command = [sys.executable, "-m", "cloudphone_deploy.prepare"]
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, check=False, timeout=120
        )
        if done.returncode:
            raise RuntimeError(f"prepare failed:\n{done.stderr.decode()[-4000:]}")
        self.demo = json.loads(done.stdout)

    def start(self) -> None:
        self.prepare()
        for name, units in self._groups.items():
            self.processes[name] = self._process(units)
        for name, count in self._bffs.items():
            for number in range(2, count + 1):
                self.processes[f"{name}-{number}"] = self._process((name,), port=free_port())
        for process in self.processes.values():
            process.process = process._spawn(process.command(), process.environment())
        for process in self.processes.values():
            _wait_for(process)

    def _process(self, units: Sequence[str], port: int | None = None) -> Process:
        usual = [self.base + PORTS[unit] for unit in units if unit in PORTS]
        return Process(units, self.environment, port, [port] if port else usual)

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
        account = self.account(role, tenant)
        answer = httpx.post(
            f"{self.url(bff)}/auth/login", json={"email": account["email"], "password": account["password"]}, timeout=10
        )
        answer.raise_for_status()
        return answer.json()["accessToken"]

    def remove(self) -> None:
        for process in self.processes.values():
            if process.process and process.process.poll() is None:
                process.process.terminate()
        for process in self.processes.values():
            process.remove()


def _wait_for(process: Process) -> None:
    assert process.process
    Guard.get().tell("watch", process.process.pid)
    deadline = time.monotonic() + process.starts_within
    while not process.ready():
        if process.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.names} did not start:\n{process.log[-4000:]}")
        time.sleep(0.05)


def _databases(postgres: Postgres, *, apart: bool) -> dict[str, str]:
    names = ("core", "billing", *(("user", "device", "app", "cache") if apart else ()))
    return {f"CLOUDPHONE_{name.upper()}_DATABASE_URL": postgres.create_database() for name in names}
