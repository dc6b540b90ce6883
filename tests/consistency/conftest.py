"""One laboratory for all: whoever harms it leaves it healthy."""

from collections.abc import AsyncIterator

import pytest

from cloudphone_deploy.consistency.laboratory import Laboratory
from tests.servers import Guard


@pytest.fixture(scope="session")
async def laboratory(anyio_backend: object) -> AsyncIterator[Laboratory]:
    async with Laboratory(Guard.get().folder / "laboratory") as laboratory:
        yield laboratory
