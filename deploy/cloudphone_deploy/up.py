"""`cloudphone up`: the whole platform on one machine, from the servers to both BFFs, until it is told to stop."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from cloudphone_deploy import embedded, ports
from cloudphone_deploy.announcement import Announcement, Up
from cloudphone_deploy.demo import Demo
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import DataFolder, refusing, write_private
from cloudphone_deploy.nursery import Nursery
from cloudphone_deploy.supervisor import Program, Supervisor, launched, tail
from cloudphone_deploy.surroundings import Surroundings, surroundings
from cloudphone_shared.settings import PORTS, Devices, Network, Payments, PhonesSettings, load

SERVERS = {
    "postgres": (embedded.postgres, "PostgreSQL"),
    "valkey": (embedded.valkey, "Valkey"),
    "nats": (embedded.nats, "NATS JetStream"),
    "adb": (embedded.adb, "adb"),
}

PROCESSES = {
    "phones": ("phones",),
    "user": ("user", "user-worker"),
    "device": ("device", "device-worker"),
    "app": ("app", "app-worker"),
    "scheduler": ("scheduler", "scheduler-worker"),
    "billing": ("billing", "billing-worker"),
    "card-provider": ("card-provider",),
    "cache-worker": ("cache-worker",),
    "bff-admin": ("bff-admin",),
    "bff-user": ("bff-user", "bff-user-worker"),
}
"""Each process and what it serves: a service lives with its worker, the portal with who writes its live events."""

SERVICES = [name for name in PROCESSES if name in PORTS and not name.startswith(("bff-", "card-"))]
"""Those that others may ask, beside the BFFs."""

STOP_ORDER = (
    ["bff-admin", "bff-user"],
    ["user", "device", "app", "scheduler", "billing", "card-provider", "cache-worker"],
    ["phones", "adb", "nats", "valkey"],
    ["postgres"],
)

LEFT_OVER_SECONDS = 5.0
"""How long the processes of a supervisor that was killed may hold their ports."""


async def up(
    folder: DataFolder, announcement: Announcement, *, with_demo: bool = True, servers_only: bool = False
) -> None:
    """Runs until SIGINT, SIGTERM or SIGHUP. Raises CommandError for whatever keeps it from starting."""
    with folder.opened(load(Network).port_base):
        made = surroundings(folder)
        processes = dict[str, Sequence[str]]() if servers_only else _processes(made)
        await _free_ports(folder, made, processes)
        if processes:
            _note_engine(folder, load(Devices, env=made.env))
        installation = Installation(folder, made, processes, announcement)
        try:
            await _until_told(installation.run(with_demo))
        finally:
            await installation.stop()
            folder.up.unlink(missing_ok=True)
    announcement.stopped()


class Installation:
    """The programs of one data folder, and what is said about them."""

    def __init__(
        self, folder: DataFolder, made: Surroundings, processes: Mapping[str, Sequence[str]], announcement: Announcement
    ) -> None:
        self._folder = folder
        self._made = made
        self._processes = processes
        self._announcement = announcement
        self._supervisor = Supervisor(folder.logs, tell=announcement.tell, changed=self._write)
        command = launched([sys.executable, "-m", "cloudphone_deploy.nursery_process"])
        self._nursery = Nursery(command, made.env, folder.logs / "nursery.log")
        self._demo = Demo()
        self._network = load(Network, env=made.env)
        self._ready = False

    async def run(self, with_demo: bool) -> None:
        if not self._processes:
            await self._start_servers()
        else:
            # What takes it longest is importing, which needs no server.
            await self._nursery.open()
            await self._start_servers()
            with self._announcement.step("Preparing the databases", "Databases made, migrated and filled"):
                self._demo = await self._prepare(with_demo)
            with self._announcement.step(f"Starting {', '.join(self._processes)}", "Services, workers and BFFs"):
                if "phones" in self._processes:
                    await self._supervisor.start(self._phones())
                others = [name for name in self._processes if name != "phones"]
                await _all(self._supervisor.start(self._process(name)) for name in others)
        self._announcement.ready(self._up(), str(self._folder.logs), self._demo.device)
        # After the text, because who waits for the file shows the text then.
        self._ready = True
        self._write()
        await asyncio.Event().wait()

    async def _start_servers(self) -> None:
        if self._made.embedded:
            names = ", ".join(SERVERS[name][1] for name in self._made.embedded)
            with self._announcement.step(f"Starting {names}", names):
                await _all(self._supervisor.start(self._server(name)) for name in self._made.embedded)

    async def stop(self) -> None:
        await self._supervisor.stop(*STOP_ORDER)
        await self._nursery.close()

    def _server(self, name: str) -> Program:
        build, _ = SERVERS[name]
        secrets = self._folder.load_secrets()
        return build(self._folder, secrets, self._made.port_base + PORTS[name], self._made.env)

    def _process(self, name: str) -> Program:
        port = self._network.port_of(name)

        async def ready() -> bool:
            request = f"GET /health/ready HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            return b" 200 " in (await embedded.ask(port, request.encode()))[:16]

        command = ["serve", *self._processes[name]]
        return Program(name=name, command=command, ready=ready, env=self._made.env, nursery=self._nursery)

    def _phones(self) -> Program:
        socket = Path(load(PhonesSettings, env=self._made.env).phones_socket)

        def prepare() -> None:
            with refusing(socket):
                socket.unlink(missing_ok=True)

        async def ready() -> bool:
            return _listens(socket)

        return Program(
            name="phones",
            command=["serve", "phones"],
            ready=ready,
            env=self._made.env,
            prepare=prepare,
            nursery=self._nursery,
        )

    async def _prepare(self, with_demo: bool) -> Demo:
        log, answer = self._folder.logs / "prepare.log", self._folder.path / "demo.json"
        log.unlink(missing_ok=True)
        fork = await self._nursery.bear(["prepare", *([] if with_demo else ["--no-seed"]), "--live", str(answer)], log)
        try:
            code = await fork.wait()
        except asyncio.CancelledError:
            fork.kill()
            raise
        if code != 0:
            last = tail(log).strip().splitlines() or ["no reason given"]
            raise CommandError(f"The databases could not be prepared ({last[-1]}); the log is {log}.")
        return msgspec.json.decode(answer.read_bytes(), type=Demo)

    def _up(self) -> Up:
        return Up(
            bff_admin=self._network.url_of("bff-admin"),
            bff_user=self._network.url_of("bff-user"),
            services={name: self._network.url_of(name) for name in self._processes if name in SERVICES},
            accounts=self._demo.accounts,
            pids={"supervisor": os.getpid(), **self._nursery_pid(), **self._supervisor.pids()},
        )

    def _nursery_pid(self) -> dict[str, int]:
        return {"nursery": self._nursery.pid} if self._processes else {}

    def _write(self) -> None:
        if self._ready:
            with refusing(self._folder.path):
                write_private(self._folder.up, msgspec.json.format(msgspec.json.encode(self._up()).decode()) + "\n")


def down(folder: DataFolder, *, within: float = 40.0) -> bool:
    """Stop the installation that uses `folder`, from another process; False when there is none.

    Raises CommandError when it belongs to another user.
    """
    holder = folder.holder()
    if holder is None:
        return False
    for number, seconds in ((signal.SIGTERM, within), (signal.SIGKILL, 10.0)):
        try:
            os.kill(holder.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise CommandError(f"Process {holder.pid} belongs to another user: stop it as that user.") from None
        end = time.monotonic() + seconds
        while folder.holder() and time.monotonic() < end:
            time.sleep(0.05)
        if not folder.holder():
            with suppress(OSError):
                folder.up.unlink(missing_ok=True)
            return True
    raise CommandError(f"Process {holder.pid} does not stop: look at {folder.logs}.")


def _processes(made: Surroundings) -> dict[str, Sequence[str]]:
    absent = set[str]()
    if load(Devices, env=made.env).provider != "simulated":
        absent.add("phones")
    if load(Payments, env=made.env).card_api_url != Payments(port_base=made.port_base).card_api_url:
        absent.add("card-provider")
    return {name: units for name, units in PROCESSES.items() if name not in absent}


def _note_engine(folder: DataFolder, settings: Devices) -> None:
    """So that whoever deletes the folder deletes the containers too."""
    if settings.provider == "docker":
        with refusing(folder.path):
            write_private(folder.engine, settings.docker_url or os.environ.get("DOCKER_HOST", ""))


def _listens(socket: Path) -> bool:
    """Of a socket that was removed before its process began."""
    return socket.exists()


async def _free_ports(folder: DataFolder, made: Surroundings, processes: Iterable[str]) -> None:
    wanted = {name: made.port_base + PORTS[name] for name in (*made.embedded, *processes) if name in PORTS}
    end = time.monotonic() + (LEFT_OVER_SECONDS if folder.up.exists() or folder.postgres.exists() else 0)
    while any(ports.taken(port) for port in wanted.values()) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    example = made.port_base + 1000 if made.port_base < 60_000 else 30_000
    advice = f"stop that one, or choose other ports, as in `CLOUDPHONE_PORT_BASE={example} make up`"
    ports.require_free(wanted, advice=advice)


async def _all(starting: Any) -> None:
    """Together; the first failure ends the wait and is raised, the rest are cancelled."""
    tasks = [asyncio.ensure_future(start) for start in starting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_told(running: Any) -> None:
    """Raises what `running` raises; returns when a signal came first."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    run = asyncio.ensure_future(running)
    stop = asyncio.create_task(told.wait())
    await asyncio.wait([run, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if run.done():
        run.result()
        return
    run.cancel()
    await asyncio.wait([run])
