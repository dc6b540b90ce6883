"""The user BFF, and an admin BFF beside it, over the real core services, on a real PostgreSQL and a real Redis."""

from collections.abc import AsyncIterator

import pytest

from cloudphone_bff_admin.main import create_app as create_console
from cloudphone_bff_user.main import create_app
from cloudphone_cache.redis import parse, patient_client
from cloudphone_shared.clients import SERVICES
from tests.browser import Console, console_of
from tests.in_process import Services, running_services
from tests.servers import Postgres, Valkey


@pytest.fixture(scope="package")
async def services(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Services]:
    client = patient_client(parse(valkey.url), read_timeout=5.0)
    await client.flushall()
    await client.aclose()
    urls = {service: await postgres.database() for service in SERVICES}
    async with running_services(urls, valkey.url) as running:
        yield running


@pytest.fixture
async def portal(services: Services, valkey: Valkey) -> AsyncIterator[Console]:
    async with console_of(create_app, services, valkey.url) as running:
        yield running


@pytest.fixture
async def console(services: Services, valkey: Valkey) -> AsyncIterator[Console]:
    async with console_of(create_console, services, valkey.url) as running:
        yield running
