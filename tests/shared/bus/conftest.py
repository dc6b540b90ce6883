"""Both brokers under one name."""

from collections.abc import Iterator

import pytest

from tests.conftest import running
from tests.servers import Nats, Server
from tests.shared.bus.worlds import Broker


@pytest.fixture(params=["nats", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.getfixturevalue(request.param))


@pytest.fixture(scope="module", params=["own_nats", "own_rabbitmq"])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """RabbitMQ is the session's: it takes long to start."""
    if request.param == "own_rabbitmq":
        yield request.getfixturevalue("rabbitmq")
        return
    with running(Nats) as server:
        yield server


@pytest.fixture
def own_broker(own_server: Server) -> Iterator[Broker]:
    """To be killed, wiped or paused; the next test finds it running. Publishing gives up after the usual patience."""
    broker = Broker(own_server).hasty()
    broker.patience = 5.0
    yield broker
    own_server.resume()
    own_server.start()
