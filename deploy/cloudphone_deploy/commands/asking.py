"""How a command asks a running process: with the token of `operations`, which may do what an operator does."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.errors import DomainError, Unavailable, decode_problem
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


async def ask_plainly(
    process: str, data: Path | None, method: str, path: str, params: Mapping[str, str] | None = None
) -> Any:
    """What a BFF answers, which is the plain document. Raises DomainError as it refused, Unavailable."""
    settle(data)
    network = load(Network)
    identity = ServiceIdentity(NAME, load(Clients).secret_of(NAME), network.url_of("user"))
    try:
        async with httpx.AsyncClient(base_url=network.url_of(process), timeout=10.0) as http:
            headers = {"Authorization": f"Bearer {await identity.token()}"}
            answer = await http.request(method, path, params=params, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(process, str(error) or type(error).__name__) from error
    finally:
        await identity.close()
    if answer.is_success:
        return answer.json()
    try:
        refusal = DomainError.of(decode_problem(answer.content))
    except msgspec.MsgspecError:
        raise Unavailable(process, f"status {answer.status_code}") from None
    raise refusal
