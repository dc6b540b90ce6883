"""A Redis Cluster behind the same surface as one connection: a slot map, and redirections followed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .pipelined import Later, Pipelined, Routed
from .redis import Address, RedisAway, RedisRefused, key_slot, pack

_MOST_HOPS = 5
_REFRESH_SECONDS = 1.0
_ASKING = pack("ASKING")


class PipelinedCluster:
    """One `Pipelined` per master. The slot map is read at start, at MOVED, and while a node is away."""

    def __init__(self, address: Address, *, budget_ms: float = 50.0) -> None:
        self._address = address
        self._budget_ms = budget_ms
        self._nodes: dict[tuple[str, int], Pipelined] = {}
        self._slots: list[Pipelined | None] = [None] * 16384
        self._refreshing: asyncio.Task[None] | None = None
        self._stale = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self.connected = asyncio.Event()

    async def start(self) -> None:
        """Begins to connect; does not wait for it."""
        self._loop = asyncio.get_running_loop()
        self._stale.set()
        self._refreshing = asyncio.create_task(self._keep_mapped())

    async def close(self) -> None:
        if self._refreshing:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        for node in list(self._nodes.values()):
            await node.close()
        self._nodes.clear()

    @property
    def available(self) -> bool:
        return any(node.available for node in self._masters())

    @property
    def commands(self) -> int:
        return sum(node.commands for node in self._nodes.values())

    @property
    def writes(self) -> int:
        return sum(node.writes for node in self._nodes.values())

    @property
    def overdue(self) -> int:
        return sum(node.overdue for node in self._nodes.values())

    @property
    def reconnects(self) -> int:
        return sum(node.reconnects for node in self._nodes.values())

    def send(self, key: bytes, packed: bytes) -> "asyncio.Future[Any]":
        """Raises RedisAway at once while the key's node is away."""
        waiter = Routed(loop=self._loop)
        waiter.packed, waiter.hops = packed, 0
        self._node_of(key).route(packed, waiter)
        return waiter

    def later(self, key: bytes, packed: bytes) -> Later:
        waiter = Later()
        self.send(key, packed).add_done_callback(lambda future: _pass_on(future, waiter))
        return waiter

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One MGET per slot, all of a node's in one write. Keys of a node that is away count as absent."""
        by_slot: dict[int, list[int]] = defaultdict(list)
        for index, key in enumerate(keys):
            by_slot[key_slot(key)].append(index)
        asked: list[tuple[list[int], asyncio.Future[Any]]] = []
        for places in by_slot.values():
            with contextlib.suppress(RedisAway):
                asked.append((places, self.send(keys[places[0]], pack(b"MGET", *(keys[place] for place in places)))))
        found: list[bytes | None] = [None] * len(keys)
        for places, answer in asked:
            with contextlib.suppress(RedisAway, RedisRefused):
                for place, value in zip(places, await answer, strict=True):
                    found[place] = value
        return found

    async def everywhere(self, packed: bytes) -> None:
        """For what every node must know, such as a script."""
        for node in self._masters():
            await node.send(b"", packed)

    def _masters(self) -> set[Pipelined]:
        return {node for node in self._slots if node is not None}

    def _node_of(self, key: bytes) -> Pipelined:
        node = self._slots[key_slot(key)]
        if node is None or not node.connected.is_set():
            self._stale.set()
            raise RedisAway("the key's node is not connected")
        return node

    def _redirect(self, waiter: Routed, text: str) -> bool:
        """Sends the command on; False if the error is none to follow."""
        kind, _, rest = text.partition(" ")
        if kind not in ("MOVED", "ASK") or waiter.hops >= _MOST_HOPS:
            if kind in ("CLUSTERDOWN", "TRYAGAIN"):
                self._stale.set()
            return False
        host, _, port = rest.rpartition(" ")[2].rpartition(":")
        node = self._nodes.get((host, int(port)))
        if kind == "MOVED":
            self._stale.set()
        if node is None or not node.available:
            return False
        waiter.hops += 1
        if kind == "ASK":
            node.route(_ASKING, Later())
        else:
            self._slots[int(rest.partition(" ")[0])] = node
        node.route(waiter.packed, waiter)
        return True

    async def _keep_mapped(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            if not await self._map():
                self._stale.set()
            await asyncio.sleep(0.05 if self.connected.is_set() else 0.02)
            if self._stale.is_set() and self.connected.is_set():
                await asyncio.sleep(_REFRESH_SECONDS / 4)

    async def _map(self) -> bool:
        for place in [*self._nodes, *self._address.nodes]:
            node = await self._node(place)
            try:
                async with asyncio.timeout(1.0):
                    await node.connected.wait()
                    await self._take(await node.send(b"", pack("CLUSTER", "SLOTS")), place[0])
            except (TimeoutError, RedisAway, RedisRefused):
                continue
            self.connected.set()
            return True
        return False

    async def _node(self, place: tuple[str, int]) -> Pipelined:
        if place not in self._nodes:
            node = self._nodes[place] = Pipelined(self._address, budget_ms=self._budget_ms, node=place)
            node.redirect = self._redirect
            await node.start()
        return self._nodes[place]

    async def _take(self, ranges: list[Any], asked_host: str) -> None:
        masters: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for first, last, (host, port, *_), *_ in ranges:
            masters[(host.decode() or asked_host, int(port))].append((int(first), int(last)))
        if not masters:
            raise RedisAway("the cluster has no slots yet")
        for place, owned in masters.items():
            node = await self._node(place)
            for first, last in owned:
                self._slots[first : last + 1] = [node] * (last + 1 - first)
        await asyncio.gather(*(self._nodes[place].connected.wait() for place in masters))
        for place in [place for place in self._nodes if place not in masters]:
            await self._nodes.pop(place).close()


Redis = Pipelined | PipelinedCluster


def connect(address: Address, *, budget_ms: float = 50.0) -> Redis:
    if address.cluster:
        return PipelinedCluster(address, budget_ms=budget_ms)
    return Pipelined(address, budget_ms=budget_ms)


def _pass_on(future: "asyncio.Future[Any]", waiter: Later) -> None:
    waiter.settle(RedisAway("cancelled") if future.cancelled() else future.exception() or future.result())
