"""A Redis cluster of three shards, each a master with a replica that takes over when it falls silent for a second."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from cloudphone_cache.redis import REDIS_ERRORS, Link, greet, key_slot, parse
from cloudphone_deploy import embedded
from cloudphone_deploy.consistency.sentinel import written_once
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import Secrets
from cloudphone_deploy.supervisor import Program

SHARDS = 3
NODE_TIMEOUT_MS = 1000
JOINED_SECONDS = 30.0
_BUS = 10
_BOUNDS = [16384 * number // SHARDS for number in range(SHARDS + 1)]


def _key_of(shard: int) -> bytes:
    return next(key for key in map(b"%d".__mod__, count()) if _BOUNDS[shard] <= key_slot(key) < _BOUNDS[shard + 1])


KEYS = [_key_of(shard) for shard in range(SHARDS)]
"""One that each shard holds."""


def url(secrets: Secrets, ports: Iterable[int]) -> str:
    return f"redis+cluster://:{secrets.valkey_password}@" + ",".join(f"127.0.0.1:{port}" for port in ports)


def node(folder: Path, secrets: Secrets, name: str, port: int, env: Mapping[str, str]) -> Program:
    """Its bus has the port ten further on. A replica is ready once it holds what its master holds."""
    settings = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": embedded.quoted(str(folder)),
        "requirepass": secrets.valkey_password,
        "masterauth": secrets.valkey_password,
        "cluster-enabled": "yes",
        "cluster-port": port + _BUS,
        "cluster-node-timeout": NODE_TIMEOUT_MS,
        "cluster-require-full-coverage": "no",
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": 0,
        "appendonly": "yes",
        "save": '""',
        "maxmemory": "512mb",
        "maxmemory-policy": "volatile-lru",
    }

    async def ready() -> bool:
        asked = f"AUTH {secrets.valkey_password}\r\nINFO replication\r\nQUIT\r\n"
        said = await embedded.ask(port, asked.encode())
        return b"role:master" in said or b"master_link_status:up" in said

    config = folder / "valkey.conf"
    command = [embedded.valkey_binary(), str(config)]
    return Program(name=name, command=command, ready=ready, env=env, prepare=written_once(config, settings))


async def join(ports: Sequence[int], secrets: Secrets) -> None:
    """The first half of them lead, the others follow. Raises CommandError when they do not find together."""
    address, nodes = parse(url(secrets, ports)), list[Link]()
    try:
        async with asyncio.timeout(JOINED_SECONDS):
            for at in address.nodes:
                nodes.append(await Link.open(address, at))
                await greet(nodes[-1].ask_packed, address, master=False)
            await _join(nodes, ports)
    except (*REDIS_ERRORS, OSError, TimeoutError) as error:
        raise CommandError(f"The servers did not become a Redis cluster ({error!r}).") from error
    finally:
        for each in nodes:
            each.close()


async def _join(nodes: Sequence[Link], ports: Sequence[int]) -> None:
    leading, following = nodes[:SHARDS], nodes[SHARDS:]
    for number, each in enumerate(leading):
        await each.ask("CLUSTER", "ADDSLOTSRANGE", _BOUNDS[number], _BOUNDS[number + 1] - 1)
        # Otherwise they argue about whose word is newer.
        await each.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for port in ports[1:]:
        await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", port, port + _BUS)
    whole = f"cluster_known_nodes:{len(nodes)}".encode(), b"cluster_slots_ok:16384", b"cluster_state:ok"
    for each in nodes:
        await _says(each, ["CLUSTER", "INFO"], *whole)
    for each, master in zip(following, leading, strict=True):
        await each.ask("CLUSTER", "REPLICATE", await master.ask("CLUSTER", "MYID"))
        await _says(each, ["INFO", "replication"], b"master_link_status:up")
    for each in nodes:
        while any(len(shard) < 4 for shard in await each.ask("CLUSTER", "SLOTS")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _says(node: Link, question: Sequence[str], *facts: bytes) -> None:
    while not all(fact in answer for answer in [await node.ask(*question)] for fact in facts):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
