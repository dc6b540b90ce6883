"""A replica of the store and a sentinel that promotes it when the master gives no answer for a second."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cloudphone_deploy import embedded
from cloudphone_deploy.folder import Secrets, refusing, write_private
from cloudphone_deploy.supervisor import Program

MASTER = "cloudphone"
DOWN_AFTER_MS = 1000


def url(secrets: Secrets, port: int) -> str:
    return f"redis+sentinel://:{secrets.valkey_password}@127.0.0.1:{port}/{MASTER}/0"


def promotable(valkey: Program, secrets: Secrets) -> Program:
    """The master that may come back as a replica: it then has to sign in at its successor."""
    config = Path(valkey.command[-1])

    def prepare() -> None:
        # Whom it follows since it was demoted stands in there.
        if not config.exists():
            valkey.prepare()
            with config.open("a") as file:
                file.write(f"masterauth {secrets.valkey_password}\n")

    return msgspec.structs.replace(valkey, prepare=prepare)


def replica(folder: Path, secrets: Secrets, port: int, master_port: int, env: Mapping[str, str]) -> Program:
    settings = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": embedded.quoted(str(folder)),
        "requirepass": secrets.valkey_password,
        "masterauth": secrets.valkey_password,
        "replicaof": f"127.0.0.1 {master_port}",
        "repl-diskless-sync-delay": 0,
        "appendonly": "no",
        "save": '""',
        "maxmemory": "512mb",
        "maxmemory-policy": "volatile-lru",
    }

    async def ready() -> bool:
        asked = f"AUTH {secrets.valkey_password}\r\nPING\r\nQUIT\r\n"
        return b"+PONG" in await embedded.ask(port, asked.encode())

    config = folder / "valkey.conf"
    prepare = written_once(config, settings)
    return Program(
        name="replica", command=[embedded.valkey_binary(), str(config)], ready=ready, env=env, prepare=prepare
    )


def sentinel(folder: Path, secrets: Secrets, port: int, master_port: int, env: Mapping[str, str]) -> Program:
    """It rewrites its settings with what it finds out."""
    settings = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": embedded.quoted(str(folder)),
        "sentinel monitor": f"{MASTER} 127.0.0.1 {master_port} 1",
        "sentinel auth-pass": f"{MASTER} {secrets.valkey_password}",
        "sentinel down-after-milliseconds": f"{MASTER} {DOWN_AFTER_MS}",
        "sentinel failover-timeout": f"{MASTER} 5000",
    }

    async def ready() -> bool:
        return await embedded.says(port, f"SENTINEL REPLICAS {MASTER}\r\n".encode(), b"\r\nslave\r\n")

    config = folder / "sentinel.conf"
    command = [embedded.valkey_binary(), str(config), "--sentinel"]
    prepare = written_once(config, settings)
    return Program(name="sentinel", command=command, ready=ready, env=env, prepare=prepare)


def written_once(config: Path, settings: Mapping[str, object]) -> Callable[[], None]:
    """Servers keep in their settings what has become of them."""

    def prepare() -> None:
        if config.exists():
            return
        with refusing(config.parent):
            config.parent.mkdir(exist_ok=True, mode=0o700)
            write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))

    return prepare
