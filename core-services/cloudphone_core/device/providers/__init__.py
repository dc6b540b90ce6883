"""Where phones come from: containers of one kind or another behind one interface."""

from pathlib import Path

from cloudphone_shared.settings import Devices

from .port import Provider
from .simulated import SimulatedProvider


def open_provider(settings: Devices) -> Provider:
    """Nothing is asked of it yet."""
    if settings.provider == "simulated":
        return SimulatedProvider.at(Path(settings.phones_socket))
    # Its SDK takes as long to import as all else that the service needs.
    from .docker import DockerProvider, engine_of

    return DockerProvider(engine_of(settings))
