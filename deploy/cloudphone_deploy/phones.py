"""The farm of simulated phones as a process of its own, so that phones outlive the worker that started them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from cloudphone_phone import Farm, controlled
from cloudphone_shared.settings import PhonesSettings, load


@asynccontextmanager
async def run() -> AsyncGenerator[None]:
    """Phones that were on are on again, and orders are taken. Raises FarmRefused when another process has this farm."""
    settings = load(PhonesSettings)
    folder, socket = Path(settings.phones_folder), Path(settings.phones_socket)
    _make(folder, socket.parent)
    farm = Farm(folder)
    await farm.open()
    try:
        async with controlled(farm, socket):
            yield
    finally:
        await farm.close()


def _make(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
