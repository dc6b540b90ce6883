"""How a command asks a running process: with the token of `operations`, which may do what an operator does."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.settings import Clients, Network, load

NAME = "operations"


def settle(data: Path | None) -> None:
    """Let the settings be those of the installation that uses the data folder, where they are not set."""
    os.environ.update(of_running(data_folder(data)))


@asynccontextmanager
async def asking(process: str, data: Path | None) -> AsyncGenerator[ServiceClient]:
    settle(data)
    network = load(Network)
    identity = ServiceIdentity(NAME, load(Clients).secret_of(NAME), network.url_of("user"))
    client = ServiceClient(process, network.url_of(process), bearer=identity.token, timeout=10.0)
    try:
        yield client
    finally:
        await client.close()
        await identity.close()
