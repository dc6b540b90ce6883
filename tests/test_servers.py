"""The servers the other tests stand on can be killed, paused and started again, and leave nothing behind."""

import os
import socket
import sys
from pathlib import Path

import anyio
import asyncpg
import psutil
import pytest
from redis.asyncio import Redis as Client
from redis.asyncio.cluster import RedisCluster as ClusterClient

from tests.conditions import eventually
from tests.servers import Nats, Postgres, RabbitMQ, Redis, RedisCluster, Valkey

pytestmark = pytest.mark.anyio


async def test_every_database_of_postgres_is_new(postgres: Postgres) -> None:
    first, second = await postgres.database(), postgres.create_database()
    connection = await asyncpg.connect(first)
    await connection.execute("create table t (x int)")
    other = await asyncpg.connect(second)
    assert await other.fetchval("select to_regclass('t')") is None
    await connection.close()
    await other.close()


async def test_a_killed_postgres_starts_again_at_the_same_address(own_postgres: Postgres) -> None:
    url = own_postgres.url
    own_postgres.restart()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("select 1") == 1
    await connection.close()


@pytest.mark.parametrize("name", ["own_valkey", "own_redis70"])
async def test_a_paused_redis_stays_silent_and_goes_on(name: str, request: pytest.FixtureRequest) -> None:
    server: Redis = request.getfixturevalue(name)
    assert isinstance(server, Valkey) == (name == "own_valkey")
    client = Client.from_url(server.url, socket_timeout=0.2, retry=None)
    await client.set("a", "b")
    server.pause()
    with pytest.raises(Exception, match=r"(?i)time"):
        await client.get("a")
    server.resume()
    assert await client.get("a") == b"b"
    await client.aclose()


async def test_three_nodes_share_the_slots(redis_cluster: RedisCluster) -> None:
    client = ClusterClient(host="127.0.0.1", port=redis_cluster.nodes[0].port)
    for number in range(30):
        await client.set(f"k{number}", number)
    assert len(client.get_primaries()) == 3
    await client.aclose()


def listening(pid: int) -> list[str]:
    members = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [c.laddr.ip for m in members for c in m.net_connections("inet") if c.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("name", ["nats", "rabbitmq"])
async def test_brokers_listen_on_loopback_only(name: str, request: pytest.FixtureRequest) -> None:
    server: Nats | RabbitMQ = request.getfixturevalue(name)
    assert server.process
    assert set(listening(server.process.pid)) == {"127.0.0.1"}
    socket.create_connection(("127.0.0.1", server.port), 1).close()


SESSION = """
import os, signal
from tests.servers import Valkey
server = Valkey()
server.start()
print(server.process.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_an_interrupted_session_leaves_no_server_and_no_folder() -> None:
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *sys.path])
    done = await anyio.run_process([sys.executable, "-c", SESSION], check=False, cwd=root, env={"PYTHONPATH": path})
    pid, folder = done.stdout.decode().split()
    await eventually(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie")
    await eventually(lambda: not Path(folder).exists())
