"""Ports of this machine: whether one is taken, and by whom as far as we may look."""

import errno
import random
import socket
from pathlib import Path

from cloudphone_deploy.errors import CommandError


def require_free(ports: dict[str, int], *, advice: str) -> None:
    """Raises CommandError for the first of `ports`, by the name of who wants it, that is taken. `advice` ends it."""
    for name, port in ports.items():
        if taken(port):
            holder = holder_of(port)
            raise CommandError(f"Port {port}, wanted by {name}, is taken by {holder or 'another program'}: {advice}.")


def taken(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Two sockets may bind one port this way, only one may listen.
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise CommandError(
                f"Port {port} cannot be used: {error.strerror}; choose others with CLOUDPHONE_PORT_BASE."
            ) from None
    return False


def free_base(width: int) -> int:
    """A port from which on `width` ports are free.

    Below the ephemeral range: a client that keeps dialling a dead server must not end up connected to itself.
    """
    while True:
        base = random.SystemRandom().randrange(14_000, 32_000 - width)
        if not any(taken(port) for port in range(base, base + width)):
            return base


def holder_of(port: int) -> str | None:
    """`name (process 123)`; None when it belongs to another user or the system does not tell."""
    inodes = _listening(port)
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & _sockets(process):
            name = (process / "comm").read_text().strip()
            return f"{name} (process {process.name})"
    return None


def _listening(port: int) -> set[str]:
    found: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
        except OSError:
            continue
        found.update(row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port)
    return found


def _sockets(process: Path) -> set[str]:
    found: set[str] = set()
    try:
        for descriptor in (process / "fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return found
    return found
