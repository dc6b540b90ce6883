"""What the device service knows of a provider of phones."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from cloudphone_shared.errors import Unavailable

DEPLOYMENT, DEVICE, GENERATION = "cloudphone.deployment", "cloudphone.device", "cloudphone.generation"
"""Labels of every container and volume of ours: whose installation, which device, its how manyeth volume."""

ContainerState = Literal["off", "booting", "running", "crashed"]
Refusal = Literal["unknown", "exists", "in-use", "no-image", "no-space", "invalid", "unusable"]


class ContainerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A phone as a device's row and its template want it; memory in MiB, storage in GiB, screen in pixels.

    `name` and `volume` are unique per generation; `image` None: the provider's own.
    """

    device_id: UUID
    name: str
    volume: str
    labels: Mapping[str, str]
    image: str | None
    android_version: str
    abis: tuple[str, ...]
    cpu_cores: int
    memory_mib: int
    storage_gib: int
    width: int
    height: int
    dpi: int


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """`address`: host and port of its adbd while it is on. `crashed`: it ended by itself."""

    id: str
    name: str
    volume: str
    labels: Mapping[str, str]
    state: ContainerState
    address: tuple[str, int] | None
    created_at: datetime | None = None


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    labels: Mapping[str, str]
    created_at: datetime | None = None


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """`size` in bytes; `sha256` over the files' names and contents, the same for the same contents."""

    size: int
    sha256: str


class ProviderRefused(Exception):
    """It will not, and would not if asked again. `code` for programs, and a sentence."""

    def __init__(self, code: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.code: Refusal = code
        self.detail = detail


class ProviderAway(Unavailable):
    """No answer: whatever was asked may have been done. Everything can be asked for again."""

    def __init__(self, reason: str) -> None:
        super().__init__("provider", reason)


class Provider(Protocol):
    """What is asked for twice is done once. All raise ProviderRefused and ProviderAway."""

    async def create(self, plan: ContainerPlan) -> Container:
        """Off at first, with its volume, which is made when there is none."""
        ...

    async def start(self, container_id: str) -> Container:
        """Returns when it is on and has its address; booted it need not be."""
        ...

    async def stop(self, container_id: str) -> Container: ...

    async def reboot(self, container_id: str) -> Container: ...

    async def remove(self, container_id: str) -> None:
        """Turns it off first. The volume stays. One that is not there is removed already."""
        ...

    async def inspect(self, container_id: str) -> Container | None: ...

    async def find(self, labels: Mapping[str, str]) -> list[Container]:
        """Those that have all these labels."""
        ...

    async def copy_volume(self, source: str, target: str, labels: Mapping[str, str]) -> Copied:
        """Of a container that is off. A `target` that is there from an interrupted copy is made anew."""
        ...

    async def remove_volume(self, name: str) -> None:
        """With every byte in it. One that is not there is removed already."""
        ...

    async def volumes(self, labels: Mapping[str, str]) -> list[Volume]: ...

    async def close(self) -> None: ...
