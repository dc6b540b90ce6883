"""Where phones come from: containers of one kind or another behind one interface."""

import os
from pathlib import Path

from cloudphone_shared.settings import Devices

from .docker import REDROID, SOCKET, DockerProvider, Engine
from .port import Provider
from .simulated import SimulatedProvider


def open_provider(settings: Devices) -> Provider:
    """Nothing is asked of it yet."""
    if settings.provider == "simulated":
        return SimulatedProvider.at(Path(settings.phones_socket))
    return DockerProvider(engine_of(settings))


def engine_of(settings: Devices) -> Engine:
    return Engine(
        url=settings.docker_url or os.environ.get("DOCKER_HOST") or SOCKET,
        image=settings.docker_image or REDROID,
        network=settings.docker_network,
        privileged=settings.docker_privileged,
    )
