from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloudphone_phone import Model, Phone
from tests.phone.adb import Adb, Connected, running


@pytest.fixture(scope="session")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    with running(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture
async def phone(tmp_path: Path) -> AsyncIterator[Phone]:
    """On, and booted."""
    phone = Phone(tmp_path / "volume", model=Model(boot_seconds=0.0))
    await phone.start()
    await phone.until("running")
    yield phone
    await phone.stop()


@pytest.fixture
async def connected(adb: Adb, phone: Phone) -> AsyncIterator[Connected]:
    connected = Connected(adb, *phone.address)
    await connected.connect()
    yield connected
    await connected.disconnect()
