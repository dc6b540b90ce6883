"""The user BFF, and an admin BFF beside it, over the real core services, on a real PostgreSQL and a real Redis."""

from collections.abc import AsyncIterator

import pytest

from cloudphone_bff_admin.main import create_app as create_console
from cloudphone_bff_user.main import create_app
from tests.browser import Console, console_of
from tests.in_process import Services, fresh_services
from tests.patience import patient_caches
from tests.servers import Postgres, Valkey


@pytest.fixture(scope="package")
async def services(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Services]:
    # Whoever asks them is made within their life, and is as patient.
    with patient_caches():
        async with fresh_services(postgres, valkey) as running:
            yield running


@pytest.fixture(scope="module")
async def portal(services: Services, valkey: Valkey) -> AsyncIterator[Console]:
    async with console_of(create_app, services, valkey.url) as running:
        yield running


@pytest.fixture(scope="module")
async def console(services: Services, valkey: Valkey) -> AsyncIterator[Console]:
    async with console_of(create_console, services, valkey.url) as running:
        yield running
