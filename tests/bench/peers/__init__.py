"""The same screen built the usual ways, on the same services and the same Redis, each as one process.

Every peer answers `/devices/<id>` from its cache with nothing checked, and `/checked/devices/<id>` after it has looked
at the token and counted the caller in Redis. What each does exactly, its own file says.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.platform import Platform
from tests.servers import Missing, Server, says

_HERE = Path(__file__).parent
_NODE = _HERE / "fastify"


class Peer(Server):
    """One peer's process. What it needs to know is in its environment, as `PEER_…`."""

    scheme = "http"
    starts_within = 60.0

    def __init__(self, name: str, command: Callable[[int], Sequence[str]], platform: Platform, jwk: str) -> None:
        super().__init__()
        self.name = name
        self._command = command
        self._platform = platform
        self._jwk = jwk

    def command(self) -> Sequence[str]:
        return self._command(self.port)

    def environment(self) -> dict[str, str]:
        platform = self._platform.environment
        return {
            "PEER_PORT": str(self.port),
            "PEER_REDIS_URL": platform["CLOUDPHONE_REDIS_URL"],
            "PEER_NATS_URL": platform["CLOUDPHONE_BUS_URL"],
            "PEER_CLIENT": "bff-admin",
            "PEER_SECRET": "secret-of-bff-admin",
            "PEER_JWK": self._jwk,
            **{f"PEER_{name.upper()}_URL": self._platform.url(name) for name in ("user", "device", "app", "billing")},
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
            "NODE_ENV": "production",
        }

    def ready(self) -> bool:
        return says(self.port, b"GET /health HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n", b" 200 ")


def _uvicorn(port: int) -> Sequence[str]:
    module = "tests.bench.peers.fastapi_cashews:app"
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", module, "--host", "127.0.0.1", "--port", str(port), *options]


def _granian(port: int) -> Sequence[str]:
    options = ["--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-access-log", "--log-level", "warning"]
    module = "tests.bench.peers.litestar_stores:app"
    return [sys.executable, "-m", "granian", *options, "--host", "127.0.0.1", "--port", str(port), module]


def _node(port: int) -> Sequence[str]:
    return [_program("node"), str(_NODE / "server.js")]


PEERS: Mapping[str, Callable[[int], Sequence[str]]] = {
    "fastapi_cashews": _uvicorn,
    "litestar_stores": _granian,
    "fastify": _node,
}


def install_node_packages() -> None:
    """What the lockfile names, unless it is there already. Raises Missing without Node; RuntimeError when npm fails."""
    node, npm = _program("node"), _program("npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major, minor = (int(part) for part in version.removeprefix("v").split(".")[:2])
    if (major, minor) < (20, 18):
        raise Missing(f"Node {version} is older than 20.18")
    lock, installed = _NODE / "package-lock.json", _NODE / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    done = subprocess.run(command, cwd=_NODE, capture_output=True, text=True, check=False, timeout=150)
    if done.returncode:
        raise RuntimeError(f"npm ci failed: {done.stderr[-800:]}")
    installed.write_bytes(lock.read_bytes())


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found
