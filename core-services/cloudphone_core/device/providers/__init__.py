"""Where phones come from: containers of one kind or another behind one interface."""

from pathlib import Path
from typing import Protocol

from .port import Provider
from .simulated import SimulatedProvider


class ProviderSettings(Protocol):
    """What choosing one needs of the settings."""

    @property
    def provider(self) -> str: ...
    @property
    def phones_socket(self) -> str: ...


def open_provider(settings: ProviderSettings) -> Provider:
    """Raises ValueError for a kind that there is not."""
    match settings.provider:
        case "simulated":
            return SimulatedProvider.at(Path(settings.phones_socket))
        case unknown:
            raise ValueError(f"there is no provider {unknown!r}")
