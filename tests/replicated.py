"""Redis with a replica that takes over: under Sentinel, and in a cluster."""

import time
from collections.abc import Callable, Sequence

from redis import Redis as Client

from cloudphone_cache.redis import key_slot
from tests.servers import ClusterNode, Redis, RedisCluster, says

NAME = "cloudphone"
PATIENT_MS, IMPATIENT_MS = 600_000, 1_000
"""How long a master may be silent before another takes over."""
_FOLLOWS = b"master_link_status:up"


def _until(what: str, true: Callable[[], bool], within: float = 120.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {within:g} s: {what}")
        time.sleep(0.05)


def _id_of(node: ClusterNode) -> str:
    with Client(port=node.port, decode_responses=True) as client:
        return str(client.execute_command("CLUSTER", "MYID"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


class Following(Redis):
    """A replica of `master` until somebody says otherwise; without one, a master that may get replicas."""

    def __init__(self, master: Redis | None = None) -> None:
        super().__init__()
        self.master = master

    def arguments(self) -> Sequence[str]:
        follows = ["--replicaof", "127.0.0.1", str(self.master.port)] if self.master else []
        return [*super().arguments(), "--repl-diskless-sync-delay", "0", *follows]

    def ready(self) -> bool:
        return super().ready() and (self.master is None or says(self.port, b"INFO replication\r\n", _FOLLOWS))


class Sentinel(Redis):
    def __init__(self, master: Redis) -> None:
        super().__init__()
        self.master = master

    def command(self) -> Sequence[str]:
        config = self.folder / "sentinel.conf"
        if not config.exists():
            config.write_text(
                f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {NAME} {PATIENT_MS}\nsentinel failover-timeout {NAME} 4000\n"
            )
        return [self.binary(), str(config), "--sentinel"]

    def wait_for_master(self, ms: int) -> None:
        command = f"SENTINEL SET {NAME} down-after-milliseconds {ms}\r\n".encode()
        _until("the sentinel does as it is told", lambda: says(self.port, command, b"+OK"))

    def sees(self, *facts: bytes) -> bool:
        question = f"SENTINEL MASTER {NAME}\r\n".encode()
        return all(says(self.port, question, fact) for fact in facts)


def sentinel_url(*sentinels: Sentinel) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{sentinel.port}' for sentinel in sentinels)}/{NAME}"


class UnderSentinel:
    """A master and a replica, and three sentinels."""

    def __init__(self) -> None:
        self.master = Following()
        self.replica = Following(self.master)
        self.sentinels = [Sentinel(self.master) for _ in range(3)]

    @property
    def url(self) -> str:
        return sentinel_url(*self.sentinels)

    def start(self) -> None:
        for server in (self.master, self.replica, *self.sentinels):
            server.start()
        whole = (b"num-slaves\r\n$1\r\n1", b"num-other-sentinels\r\n$1\r\n2", b"flags\r\n$6\r\nmaster\r\n")
        _until("the sentinels know each other", lambda: all(sentinel.sees(*whole) for sentinel in self.sentinels))

    def lose_patience(self) -> None:
        """A master that falls silent from now on is replaced. Before, a machine that stood still was enough."""
        for sentinel in self.sentinels:
            sentinel.wait_for_master(IMPATIENT_MS)

    def be_patient(self) -> None:
        for sentinel in self.sentinels:
            sentinel.wait_for_master(PATIENT_MS)

    def remove(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.remove()


class PairedNode(ClusterNode):
    def arguments(self) -> Sequence[str]:
        return [*super().arguments(), "--repl-diskless-sync-delay", "0"]

    def wait_for_others(self, ms: int) -> None:
        command = f"CONFIG SET cluster-node-timeout {ms}\r\n".encode()
        _until("the node does as it is told", lambda: says(self.port, command, b"+OK"))


class ClusterWithReplica(RedisCluster):
    """Three masters; the one that holds the change feed has a replica."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = [PairedNode() for _ in range(3)]
        self.replica = PairedNode()
        self.master = self.nodes[key_slot(b"{changes}") * 3 // 16384]

    def start(self) -> None:
        super().start()
        self.replica.start()
        meet = f"CLUSTER MEET 127.0.0.1 {self.master.port} {self.master.bus_port}\r\n".encode()
        says(self.replica.port, meet, b"+OK")
        _until("all nodes know the replica", lambda: all(self._sees(node, 4) for node in (*self.nodes, self.replica)))
        follow = f"CLUSTER REPLICATE {_id_of(self.master)}\r\n".encode()
        _until("the replica has its master", lambda: says(self.replica.port, follow, b"+OK"))
        _until("the replica follows", lambda: says(self.replica.port, b"INFO replication\r\n", _FOLLOWS))
        _until("all know of it", lambda: all(says(node.port, b"CLUSTER SLOTS\r\n", self._place) for node in self.nodes))

    def lose_patience(self) -> None:
        """A master that falls silent from now on is replaced. Before, a machine that stood still was enough."""
        for node in (*self.nodes, self.replica):
            node.wait_for_others(2 * IMPATIENT_MS)

    def be_patient(self) -> None:
        """All but the one that was replaced, which may not listen."""
        for node in (*self.nodes, self.replica):
            if node is not self.master:
                node.wait_for_others(PATIENT_MS)

    @property
    def _place(self) -> bytes:
        return f":{self.replica.port}\r\n".encode()

    def _sees(self, node: ClusterNode, count: int) -> bool:
        return says(node.port, b"CLUSTER INFO\r\n", f"cluster_known_nodes:{count}".encode())

    def remove(self) -> None:
        self.replica.remove()
        super().remove()
