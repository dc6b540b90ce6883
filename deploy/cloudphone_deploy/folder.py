"""The data folder of one installation on one machine, `.cloudphone/`: its lock, its version, its secrets."""

import errno
import fcntl
import json
import os
import secrets
import shutil
import tomllib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from cloudphone_deploy.errors import CommandError

LAYOUT = 1
POSTGRES = 18
CLIENTS = ("user", "device", "app", "scheduler", "billing", "cache-worker", "bff-admin", "bff-user", "operations")
FREE_BYTES = 256 * 2**20
"""Less than this, and a first start would stop half-way."""


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Made once per data folder. `service_clients` has one secret per program that signs in at the user service.

    The card's two are what billing and the provider for trying out know each other by. `deployment_id` is no secret,
    but as lasting: what containers and volumes are known by as this installation's.
    """

    postgres_password: str
    valkey_password: str
    nats_token: str
    freshness_key: str
    cursor_key: str
    card_api_key: str
    card_webhook_secret: str
    deployment_id: str
    service_clients: dict[str, str]


class Holder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The supervisor that has a data folder locked."""

    pid: int
    port_base: int


class DataFolder:
    """Every path in it. The folder itself exists once `opened` has been entered."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock = self.path / "lock"
        self.logs = self.path / "logs"
        self.postgres = self.path / "postgres"
        self.valkey = self.path / "valkey"
        self.nats = self.path / "nats"
        self.adb = self.path / "adb"
        self.engine = self.path / "engine"
        """The URL of the Docker Engine that has containers of this installation."""
        self.up = self.path / "up.json"
        self.secrets = self.path / "secrets.toml"
        self.version = self.path / "version.toml"

    @contextmanager
    def opened(self, port_base: int) -> Generator[None]:
        """Hold the folder's lock. Raises CommandError when it is in use, not writable, full, or of another version."""
        with refusing(self.path):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(descriptor)
            with refusing(self.path):
                _rewrite(descriptor, msgspec.json.encode(Holder(pid=os.getpid(), port_base=port_base)))
                self._check_room()
                self._check_version()
                self.logs.mkdir(exist_ok=True)
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Who runs on this folder now, or None."""
        try:
            with self.lock.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    with suppress(msgspec.DecodeError):
                        return msgspec.json.decode(lock.read(), type=Holder)
        except OSError:
            return None
        return None

    def load_secrets(self) -> Secrets:
        """Those of the file; what it lacks is made and written first."""
        kept = self._kept_secrets()
        clients = {name: _new() for name in CLIENTS} | kept.get("service_clients", {})
        names = [field for field in Secrets.__struct_fields__ if field != "service_clients"]
        new = {name: _new() for name in names} | {
            "deployment_id": secrets.token_hex(4),
            "card_api_key": f"sk_test_{_new()}",
            "card_webhook_secret": f"whsec_{_new()}",
        }
        made = Secrets(**{name: kept.get(name) or new[name] for name in names}, service_clients=clients)
        if msgspec.to_builtins(made) != kept:
            with refusing(self.path):
                write_private(self.secrets, _toml(made))
        return made

    def erase(self) -> None:
        """Delete everything in it. Raises CommandError for a folder that is not ours or is in use."""
        if not self.version.exists():
            raise CommandError(f"{self.path} holds no Cloudphone data, so nothing was deleted.")
        if self.holder():
            raise CommandError(f"{self.path} is in use: stop it first with `make down`.")
        with refusing(self.path):
            shutil.rmtree(self.path)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self.holder()
            who = f"process {holder.pid} on ports from {holder.port_base}" if holder else "another process"
            raise CommandError(
                f"{self.path} is in use by {who}: stop that one with `make down`, or give this one a folder and ports "
                "of its own with CLOUDPHONE_DATA and CLOUDPHONE_PORT_BASE."
            ) from None

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < FREE_BYTES:
            raise CommandError(
                f"The disk of {self.path} has only {free // 2**20} MB free, Cloudphone needs {FREE_BYTES // 2**20}: "
                "make room, or choose another folder with CLOUDPHONE_DATA."
            )

    def _check_version(self) -> None:
        ours = {"layout": LAYOUT, "postgres": POSTGRES}
        if not self.version.exists():
            write_private(self.version, "".join(f"{name} = {number}\n" for name, number in ours.items()))
        try:
            found = tomllib.loads(self.version.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            found = {}
        if found != ours:
            was = ", ".join(f"{name} {number}" for name, number in found.items()) or "unreadable"
            raise CommandError(
                f"{self.path} was made by another version of Cloudphone ({was}; this one needs layout {LAYOUT}, "
                f"postgres {POSTGRES}): start the version that made it, choose another folder with CLOUDPHONE_DATA, "
                "or delete its data with `make reset`."
            )

    def _kept_secrets(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.secrets.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise CommandError(
                f"{self.secrets} cannot be read: restore it, or delete all data of this folder with `make reset`."
            ) from None


@contextmanager
def refusing(path: Path, instead: str = "another folder with CLOUDPHONE_DATA") -> Generator[None]:
    """Turns what the file system refuses into one sentence, which says what to choose `instead`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CommandError(f"The disk of {path} is full: make room, or choose {instead}.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise CommandError(
                f"{path} cannot be written ({_said(error)}): make it writable, or choose {instead}."
            ) from error
        raise CommandError(f"{path} cannot be used ({_said(error)}): choose {instead}.") from error


def write_private(path: Path, text: str) -> None:
    """Replace `path` at one stroke, readable by its owner only."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(path)


def _rewrite(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _new() -> str:
    return secrets.token_urlsafe(32)


def _toml(made: Secrets) -> str:
    lines = [
        f"{name} = {json.dumps(getattr(made, name))}" for name in made.__struct_fields__ if name != "service_clients"
    ]
    clients = [f"{name} = {json.dumps(secret)}" for name, secret in made.service_clients.items()]
    return "\n".join([*lines, "", "[service_clients]", *clients, ""])


def _said(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
