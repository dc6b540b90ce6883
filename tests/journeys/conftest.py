"""The platforms of the journeys: one per bus, shared by all. Who stops a part of one starts it again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import running
from tests.journeys.client import Staff
from tests.platform import Platform
from tests.servers import Nats, Postgres, RabbitMQ, Redis, Valkey

GROUPS = {
    "services": ("user", "device", "app", "scheduler"),
    "billing": ("billing", "billing-worker", "card-provider"),
    "workers": ("user-worker", "device-worker", "app-worker", "scheduler-worker", "bff-user-worker"),
    "cache-worker": ("cache-worker",),
    "bff-admin": ("bff-admin",),
    "bff-user": ("bff-user",),
}
_SETTINGS = {
    "CLOUDPHONE_TRUSTED_PROXIES": "127.0.0.1",
    "CLOUDPHONE_WARMUP_SCHEDULE": "0 0 1 1 *",
    "CLOUDPHONE_WARMUP_USERS": "5",
}


class OnNats(Platform):
    """Valkey and NATS; two processes of each BFF; limits out of reach but for the role support, which has the usual."""

    def __init__(self, postgres: Postgres, store: Valkey, bus: Nats) -> None:
        usual = {"CLOUDPHONE_RATE_LIMITS_BY_ROLE": "support=10/s,100/10s,500/min"}
        super().__init__(
            postgres, store.url, bus.url, groups=GROUPS, bff_admins=2, bff_users=2, settings={**_SETTINGS, **usual}
        )
        self.store, self.bus = store, bus


class OnRabbitMQ(Platform):
    """Redis 7.0 and RabbitMQ; a database for each service; the usual limits on signing in."""

    def __init__(self, postgres: Postgres, store: Redis, bus: RabbitMQ) -> None:
        usual = {"CLOUDPHONE_LOGIN_RATE_LIMITS": "5/min,20/h"}
        super().__init__(
            postgres, store.url, bus.url, groups=GROUPS, seven_databases=True, settings={**_SETTINGS, **usual}
        )
        self.store, self.bus = store, bus


@pytest.fixture(scope="package")
def platform(postgres: Postgres) -> Iterator[OnNats]:
    with running(Valkey) as store, running(Nats) as bus:
        yield from _started(OnNats(postgres, store, bus))


@pytest.fixture(scope="package")
def platform_on_rabbitmq(postgres: Postgres, rabbitmq: RabbitMQ) -> Iterator[OnRabbitMQ]:
    with running(Redis) as store:
        yield from _started(OnRabbitMQ(postgres, store, rabbitmq))


@pytest.fixture(params=["platform", "platform_on_rabbitmq"], ids=["nats", "rabbitmq"])
def each_platform(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def _started(platform: Any) -> Iterator[Any]:
    try:
        platform.start()
        yield platform
    finally:
        platform.remove()


@pytest.fixture
async def admin(platform: OnNats) -> Any:
    """An administrator of all tenants, at bff-admin."""
    async with Staff(platform) as staff:
        yield staff


@pytest.fixture(scope="package")
async def bystander(platform: OnNats) -> Any:
    """A customer with a device, shared by tests that leave both as they are."""
    async with Staff(platform) as staff, await staff.new_customer() as person:
        yield person


@pytest.fixture
async def customer(platform: OnNats, admin: Staff) -> Any:
    """A customer of the test's own, with a device, at bff-user."""
    async with await admin.new_customer() as person:
        yield person
