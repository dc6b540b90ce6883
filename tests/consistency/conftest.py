"""One laboratory for all: whoever harms it leaves it healthy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudphone_deploy.consistency.laboratory import Laboratory
from tests.servers import Guard

BROKEN = [str(Path(__file__).with_name("broken.py"))]
# What a test has put into Redis is to be found there on a machine that stands still now and then, too.
PATIENT = {"CLOUDPHONE_REDIS_BUDGET_MS": "2000"}


@pytest.fixture(scope="package")
async def laboratory(anyio_backend: object) -> AsyncIterator[Laboratory]:
    """Whole, until a test starts a process of it again with a part left out."""
    async with Laboratory(Guard.get().folder / "laboratory", program=BROKEN, settings=PATIENT) as laboratory:
        yield laboratory
