"""Where Redis is, and how its masters are found: one server, a pair under Sentinel, or a cluster."""

import asyncio
import binascii
import contextlib
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import hiredis
import msgspec
import redis.asyncio as slow_redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

Argument: TypeAlias = bytes | str | int | float
Node: TypeAlias = tuple[str, int]
Ask: TypeAlias = Callable[[bytes], Awaitable[Any]]
SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
_SENTINEL_SECONDS = 0.5


class RedisAway(Exception):
    """Redis is not connected, or did not answer within the budget."""


class RedisRefused(Exception):
    """Redis answered with an error."""


REDIS_ERRORS = (RedisAway, RedisRefused)


class Address(msgspec.Struct, frozen=True):
    """Where Redis is. `nodes` are the server, some nodes of the cluster, or the sentinels that watch `master`."""

    nodes: tuple[Node, ...]
    cluster: bool = False
    tls: bool = False
    username: str | None = None
    password: str | None = None
    db: int = 0
    master: str | None = None


def parse(url: str) -> Address:
    """Raises ValueError. One of

    - `redis://user:password@host:port/db`
    - `redis+cluster://user:password@host:port,host:port`
    - `redis+sentinel://user:password@host:port,host:port/master-name/db`: the sentinels, and what they call the master

    or the same over TLS, with `rediss`. The password is the servers'; sentinels that want one get the same.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise ValueError("a Redis URL begins with one of " + ", ".join(f"{known}://" for known in SCHEMES))
    authority, _, path = rest.partition("?")[0].partition("/")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    master = None
    if watched := scheme.endswith("+sentinel"):
        master, _, path = path.partition("/")
        if not master:
            raise ValueError("a Redis URL for Sentinel ends in the master's name: redis+sentinel://host:26379/name")
    nodes: list[Node] = []
    for host in hosts.split(","):
        parts = urlsplit("//" + host)
        nodes.append((parts.hostname or "127.0.0.1", parts.port or (26379 if watched else 6379)))
    return Address(
        nodes=tuple(nodes),
        cluster=scheme.endswith("+cluster"),
        tls=scheme.startswith("rediss"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(path or 0),
        master=unquote(master) if master else None,
    )


def cancelled() -> bool:
    """Whether this task is to end. To be asked by whoever goes on asking redis-py, which swallows a cancellation that
    arrives while it connects, sends (in Python 3.11) or times out."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def patient_client(
    address: Address, *, read_timeout: float, connect_timeout: float = 1.0, name: str = "cloudphone"
) -> Any:
    """redis-py's client of the master or the cluster: no retries of its own, replies as bytes within `read_timeout`
    seconds."""
    shared: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "ssl": address.tls,
        "protocol": 2,
        "client_name": name,
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": read_timeout,
    }
    if address.cluster:
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return slow_redis.RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), **shared)
    if address.master:
        asking = {"socket_connect_timeout": _SENTINEL_SECONDS, "socket_timeout": _SENTINEL_SECONDS, "ssl": address.tls}
        sentinel = Sentinel(address.nodes, sentinel_kwargs=asking, **shared)
        return sentinel.master_for(  # pyright: ignore[reportUnknownMemberType]
            address.master, db=address.db, retry=Retry(NoBackoff(), 0)
        )
    host, port = address.nodes[0]
    return slow_redis.Redis(host=host, port=port, db=address.db, retry=Retry(NoBackoff(), 0), **shared)


def pack(*arguments: Argument) -> bytes:
    return hiredis.pack_command(arguments)  # pyright: ignore


def tls_of(address: Address) -> ssl.SSLContext | None:
    return ssl.create_default_context() if address.tls else None


async def greet(ask: Ask, address: Address, *, master: bool) -> None:
    """What is said first on a connection. Raises what `ask` raises, and RedisAway where a master is wanted and the
    server takes itself for none: one that was demoted shows the past."""
    await _sign_in(ask, address)
    if address.db:
        await ask(pack("SELECT", address.db))
    # A server that is stopped or still loading accepts connections all the same.
    await ask(pack("PING"))
    if master and (role := await _role(ask)) != b"master":
        raise RedisAway(f"the server is no master but a {role.decode()}")


async def _sign_in(ask: Ask, address: Address) -> None:
    if address.password:
        await ask(pack("AUTH", *([address.username] if address.username else []), address.password))


async def _role(ask: Ask) -> bytes:
    try:
        return (await ask(pack("ROLE")))[0]
    except RedisRefused as refusal:
        if str(refusal).startswith("NOPERM"):
            return b"master"  # for all that this user may know
        raise


class Link:
    """A connection to one server, one question at a time: for whoever has patience."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._incoming, self._outgoing = reader, writer
        self._replies = hiredis.Reader(notEnoughData=Ellipsis)

    @classmethod
    async def open(cls, address: Address, node: Node) -> "Link":
        """Nothing is said yet. Raises OSError."""
        return cls(*await asyncio.open_connection(*node, ssl=tls_of(address), limit=2**20))

    async def ask(self, *arguments: Argument) -> Any:
        """Raises RedisAway and OSError, after which the link is of no more use, and RedisRefused."""
        return await self.ask_packed(pack(*arguments))

    async def ask_packed(self, packed: bytes) -> Any:
        self._outgoing.write(packed)
        while (reply := self._replies.gets()) is Ellipsis:
            received = await self._incoming.read(2**18)
            if not received:
                raise RedisAway("the connection was lost")
            self._replies.feed(received)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisRefused(str(reply))
        return reply

    def close(self) -> None:
        self._outgoing.transport.abort()


async def dial(address: Address, key: bytes = b"", *, name: str = "cloudphone", within: float = 1.0) -> Link:
    """A connection to the master that holds `key` now. Raises RedisAway, RedisRefused, OSError, TimeoutError."""
    async with asyncio.timeout(within):
        link = await Link.open(address, await master_of(address, key))
        try:
            await greet(link.ask_packed, address, master=True)
            await link.ask("CLIENT", "SETNAME", name)
        except BaseException:
            link.close()
            raise
        return link


async def master_of(address: Address, key: bytes = b"") -> Node:
    """Where that master is, as far as the sentinels, or the nodes of the cluster, know. Raises RedisAway."""
    if address.master is not None:
        return await _named_by_sentinels(address)
    if address.cluster:
        return await _named_by_cluster(address, key_slot(key))
    return address.nodes[0]


async def _named_by_sentinels(address: Address) -> Node:
    """What most of them say: one that was cut off, or has just started, may be behind."""
    asking = [asyncio.create_task(_asked(address, node, _master_told_by)) for node in address.nodes]
    told: Counter[Node] = Counter()
    try:
        for answer in asyncio.as_completed(asking):
            if (node := await answer) is not None:
                told[node] += 1
                if told[node] > len(asking) / 2:
                    return node
    finally:
        for task in asking:
            task.cancel()
    if not told:
        raise RedisAway(f"no sentinel knows a master named {address.master}")
    return told.most_common(1)[0][0]


async def _named_by_cluster(address: Address, slot: int) -> Node:
    for node in random.sample(address.nodes, len(address.nodes)):
        ranges: list[Any] = await _asked(address, node, _slots_told_by) or []
        for first, last, (host, port, *_), *_ in ranges:
            if first <= slot <= last:
                return host.decode() or node[0], port
    raise RedisAway("no node of the cluster knows who holds the key")


async def _asked(address: Address, node: Node, question: Any) -> Any:
    """The answer of one sentinel or node; None if it has none."""
    with contextlib.suppress(OSError, TimeoutError, RedisAway, RedisRefused):
        async with asyncio.timeout(_SENTINEL_SECONDS):
            link = await Link.open(address, node)
            try:
                # A sentinel without a password of its own refuses one.
                with contextlib.suppress(RedisRefused):
                    await _sign_in(link.ask_packed, address)
                return await question(link, address)
            finally:
                link.close()
    return None


async def _master_told_by(link: Link, address: Address) -> Node | None:
    told = await link.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master or "")
    return (told[0].decode(), int(told[1])) if told else None


async def _slots_told_by(link: Link, address: Address) -> Any:
    return await link.ask("CLUSTER", "SLOTS")


def key_slot(key: bytes) -> int:
    """The cluster slot of a key; what stands in its first braces decides, if anything does."""
    from_brace = key.find(b"{")
    if from_brace >= 0:
        to = key.find(b"}", from_brace + 1)
        if to > from_brace + 1:
            key = key[from_brace + 1 : to]
    return binascii.crc_hqx(key, 0) % 16384
