"""The admin BFF over the real core services, on a real PostgreSQL and a real Redis."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from cloudphone_bff_admin.main import create_app
from tests import browser
from tests.browser import Console
from tests.in_process import Services, fresh_services
from tests.patience import patient_caches
from tests.servers import Postgres, Valkey


@pytest.fixture(scope="package")
async def services(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Services]:
    # Whoever asks them is made within their life, and is as patient.
    with patient_caches():
        async with fresh_services(postgres, valkey) as running:
            yield running


def console_of(
    services: Services, redis_url: str, *, wait: bool = True, **settings: str
) -> AbstractAsyncContextManager[Console]:
    """One process of the admin BFF and its browser."""
    return browser.console_of(create_app, services, redis_url, wait=wait, **settings)


@pytest.fixture(scope="module")
async def console(services: Services, valkey: Valkey) -> AsyncIterator[Console]:
    """A module's own: to make one takes longer than most tests."""
    async with console_of(services, valkey.url) as running:
        yield running
