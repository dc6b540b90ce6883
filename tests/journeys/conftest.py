"""The platform for the journeys: one per bus, shared by all that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.platform import Platform
from tests.servers import Nats, Postgres, RabbitMQ, Valkey


@pytest.fixture(scope="session")
def platform(postgres: Postgres, valkey: Valkey, nats: Nats) -> Iterator[Platform]:
    """On NATS, two processes of each BFF."""
    yield from running(Platform(postgres, f"redis://127.0.0.1:{valkey.port}/1", nats.url, bff_admins=2, bff_users=2))


@pytest.fixture(scope="session")
def platform_on_rabbitmq(postgres: Postgres, valkey: Valkey, rabbitmq: RabbitMQ) -> Iterator[Platform]:
    yield from running(Platform(postgres, f"redis://127.0.0.1:{valkey.port}/2", rabbitmq.url))


def running(platform: Platform) -> Iterator[Platform]:
    try:
        platform.start()
        yield platform
    finally:
        platform.remove()
