"""Servers a test may ask for: one per session, started at first use; `own_…` for tests that kill or pause theirs."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Missing, Nats, Postgres, RabbitMQ, Redis, RedisCluster, Valkey
from tests.workers import Together, place_in_line

# How long an example takes says something of the machine only. By night there is time for many more.
settings.register_profile(
    "ci", settings(), max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("ci"), max_examples=2000)
settings.load_profile(os.environ.get("CLOUDPHONE_TEST_PROFILE", "ci"))


class Startable(Protocol):
    def start(self) -> None: ...
    def remove(self) -> None: ...


S = TypeVar("S", bound=Startable)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_in_line(item.path.relative_to(Path(__file__).parent)))


def pytest_collection_finish() -> None:
    """What is there by now stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return Together(config, log) if config.getvalue("dist") == "loadgroup" else None


@contextmanager
def running(cls: Callable[[], S]) -> Iterator[S]:
    server = cls()
    try:
        server.start()
    except Missing as missing:
        server.remove()
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}, and in CI nothing may be skipped", pytrace=False)
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with running(Valkey) as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    with running(Valkey) as server:
        yield server


@pytest.fixture(scope="session")
def redis70() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def own_redis70() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with running(RedisCluster) as server:
        yield server


@pytest.fixture
def own_redis_cluster() -> Iterator[RedisCluster]:
    with running(RedisCluster) as server:
        yield server


@pytest.fixture(scope="session")
def nats() -> Iterator[Nats]:
    with running(Nats) as server:
        yield server


@pytest.fixture
def own_nats() -> Iterator[Nats]:
    with running(Nats) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    with running(RabbitMQ) as server:
        yield server


@pytest.fixture
def own_rabbitmq() -> Iterator[RabbitMQ]:
    with running(RabbitMQ) as server:
        yield server
