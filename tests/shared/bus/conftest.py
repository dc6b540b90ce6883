"""Both brokers under one name."""

from collections.abc import Iterator

import pytest

from tests.conftest import running
from tests.servers import Nats, RabbitMQ, Server
from tests.shared.bus.worlds import Broker


@pytest.fixture(params=["nats", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.getfixturevalue(request.param))


@pytest.fixture(scope="module", params=[Nats, RabbitMQ], ids=["own_nats", "own_rabbitmq"])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as server:
        yield server


@pytest.fixture
def own_broker(own_server: Server) -> Broker:
    """To be killed, wiped or paused; the next test finds it running. Publishing gives up after the usual patience."""
    own_server.resume()
    own_server.start()
    broker = Broker(own_server).hasty()
    broker.patience = 5.0
    return broker
