"""A RabbitMQ of our own, where it is installed: own cookie, folders, ports and epmd, nothing off loopback.

Called past Debian's wrapper, which insists on the user rabbitmq and on the system's folders.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cloudphone_deploy import embedded, ports
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import refusing
from cloudphone_deploy.supervisor import Program

PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin")
HELLO = b"AMQP\0\0\x09\x01"


class Node:
    """`port`, the two after it and its folder are its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.epmd_port, self.distribution_port = port + 1, port + 2
        self.name = f"cloudphone-{port}@localhost"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def write_settings(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nraft.wal_max_size_bytes = 33554432\n"
            "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 1GB\nlog.file = false\n"
            "log.console = true\nlog.console.level = warning\n"
        )
        (self.folder / "plugins").write_text("[].\n")

    def epmd_environment(self) -> dict[str, str]:
        return {"ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}

    def environment(self) -> dict[str, str]:
        return {
            **self.epmd_environment(),
            "HOME": str(self.folder),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script then becomes the server, so a signal reaches it
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.folder / "feature_flags"),
        }


def epmd(node: Node, env: Mapping[str, str]) -> Program:
    """It has to run before the node starts. Raises CommandError where Erlang is not installed."""

    async def ready() -> bool:
        return ports.taken(node.epmd_port)

    command = [binary("epmd")]
    return Program(name="epmd", command=command, ready=ready, env={**env, **node.epmd_environment()})


def rabbitmq(node: Node, env: Mapping[str, str]) -> Program:
    """Raises CommandError where RabbitMQ is not installed."""

    def prepare() -> None:
        with refusing(node.folder):
            node.folder.mkdir(exist_ok=True, mode=0o700)
            node.write_settings()

    async def ready() -> bool:
        return await embedded.says(node.port, HELLO, b"RabbitMQ")

    command = [binary("rabbitmq-server")]
    own = {**env, **node.environment()}
    return Program(name="rabbitmq", command=command, ready=ready, env=own, prepare=prepare, ready_seconds=90.0)


def binary(name: str) -> str:
    """Raises CommandError when it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([*PLACES, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise CommandError(f"{name} is not installed: install RabbitMQ, or use NATS, which comes with Cloudphone.")
    return found
