"""The laboratory's Redis: one server, a master under Sentinel with its replica, or a cluster of three such pairs."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from cloudphone_cache.redis import master_of, parse
from cloudphone_deploy import embedded
from cloudphone_deploy.consistency import cluster, sentinel
from cloudphone_deploy.folder import DataFolder, Secrets
from cloudphone_deploy.supervisor import Program
from cloudphone_shared.settings import PORTS

Kind = Literal["single", "sentinel", "cluster"]


class Store(Protocol):
    """`shares` of what is stored, each led by one of its `servers`, which are named by their ports. `url` is None where
    it is the usual one."""

    shares: Sequence[str]
    servers: Mapping[int, str]
    url: str | None

    def stages(self, env: Mapping[str, str]) -> list[list[Program]]:
        """What is started together, one lot after the other."""
        ...

    async def join(self) -> None:
        """Once, when all have been started. Raises CommandError."""
        ...

    async def leads(self, share: str) -> int:
        """The port of the server that is written to. Raises RedisAway and OSError while there is none."""
        ...


def store(kind: Kind, folder: DataFolder, secrets: Secrets, base: int) -> Store:
    """Servers stand on the usual port, from `base` + 30 under Sentinel, and from `base` + 100 in a cluster."""
    return {"single": Single, "sentinel": UnderSentinel, "cluster": InCluster}[kind](folder, secrets, base)


class Single:
    shares: Sequence[str] = ("valkey",)
    url: str | None = None

    def __init__(self, folder: DataFolder, secrets: Secrets, base: int) -> None:
        self._folder, self._secrets, self._port = folder, secrets, base + PORTS["valkey"]
        self.servers: Mapping[int, str] = {self._port: "valkey"}

    def stages(self, env: Mapping[str, str]) -> list[list[Program]]:
        return [[embedded.valkey(self._folder, self._secrets, self._port, env)]]

    async def join(self) -> None: ...

    async def leads(self, share: str) -> int:
        return self._port


class UnderSentinel:
    shares: Sequence[str] = ("master",)

    def __init__(self, folder: DataFolder, secrets: Secrets, base: int) -> None:
        self._folder, self._secrets = folder, secrets
        self._valkey, self._replica, self._sentinel = base + PORTS["valkey"], base + 30, base + 31
        self.servers: Mapping[int, str] = {self._valkey: "valkey", self._replica: "replica"}
        self.url: str | None = sentinel.url(secrets, self._sentinel)

    def stages(self, env: Mapping[str, str]) -> list[list[Program]]:
        folder, secrets = self._folder.path, self._secrets
        valkey = embedded.valkey(self._folder, secrets, self._valkey, env)
        return [
            [sentinel.promotable(valkey, secrets)],
            [sentinel.replica(folder / "replica", secrets, self._replica, self._valkey, env)],
            [sentinel.sentinel(folder / "sentinel", secrets, self._sentinel, self._valkey, env)],
        ]

    async def join(self) -> None: ...

    async def leads(self, share: str) -> int:
        assert self.url
        _, port = await master_of(parse(self.url))
        return port


class InCluster:
    shares: Sequence[str] = tuple(f"shard-{number}" for number in range(1, cluster.SHARDS + 1))

    def __init__(self, folder: DataFolder, secrets: Secrets, base: int) -> None:
        self._folder, self._secrets = folder, secrets
        self.servers: Mapping[int, str] = {
            base + 100 + place: f"node-{place + 1}" for place in range(2 * cluster.SHARDS)
        }
        self.url: str | None = cluster.url(secrets, self.servers)

    def stages(self, env: Mapping[str, str]) -> list[list[Program]]:
        folder, secrets = self._folder.path, self._secrets
        return [[cluster.node(folder / name, secrets, name, port, env) for port, name in self.servers.items()]]

    async def join(self) -> None:
        await cluster.join(list(self.servers), self._secrets)

    async def leads(self, share: str) -> int:
        assert self.url
        _, port = await master_of(parse(self.url), cluster.KEYS[self.shares.index(share)])
        return port
