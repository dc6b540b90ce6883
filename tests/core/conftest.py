from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from cloudphone_shared.http.edge import Edge
from tests.patience import patience
from tests.signing import Signer, client_of


@pytest.fixture(scope="package", autouse=True)
def patient() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture
def signer() -> Signer:
    """Tokens for any caller: `signer.headers(role="customer", id=…, tenant=…)`, `signer.service("bff-admin")`.

    Give `signer.verifier()` to the app under test.
    """
    return Signer()


@pytest.fixture
async def app_client() -> AsyncIterator[Callable[[Edge], Awaitable[httpx.AsyncClient]]]:
    """`client = await app_client(create_app(...))`: the app is started now and stopped after the test."""
    async with AsyncExitStack() as running:

        async def start(app: Edge) -> httpx.AsyncClient:
            return await running.enter_async_context(client_of(app))

        yield start
