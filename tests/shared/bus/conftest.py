"""Both brokers under one name."""

import pytest

from tests.shared.bus.worlds import Broker


@pytest.fixture(params=["nats", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.getfixturevalue(request.param))


@pytest.fixture(params=["own_nats", "own_rabbitmq"])
def own_broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.getfixturevalue(request.param))
