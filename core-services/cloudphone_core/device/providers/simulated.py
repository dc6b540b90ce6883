"""Phones of a farm, which may be a process of its own: what everybody has without Docker."""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cloudphone_phone import FarmAway, FarmRefused, Labelled, Model, Phones, Plan, RemoteFarm, Status

from .port import Container, ContainerPlan, Copied, ProviderAway, ProviderRefused, Refusal, Volume

T = TypeVar("T")

_SDKS = {"10": 29, "11": 30, "12": 31, "12L": 32, "13": 33, "14": 34, "15": 35, "16": 36}
_REFUSALS: dict[str, Refusal] = {
    "invalid": "invalid",
    "unknown": "unknown",
    "exists": "exists",
    "in-use": "in-use",
    "unusable": "unusable",
}


class SimulatedProvider:
    """`boot_seconds`: how long its phones take from power on."""

    def __init__(self, phones: Phones, *, boot_seconds: float = 2.0) -> None:
        self._phones, self._boot_seconds = phones, boot_seconds

    @classmethod
    def at(cls, socket: Path) -> "SimulatedProvider":
        """Of the farm that listens there."""
        return cls(RemoteFarm(socket))

    async def create(self, plan: ContainerPlan) -> Container:
        return _container(await _told(self._phones.create(self._plan(plan))))

    async def start(self, container_id: str) -> Container:
        return _container(await _told(self._phones.start(container_id)))

    async def stop(self, container_id: str) -> Container:
        return _container(await _told(self._phones.stop(container_id)))

    async def reboot(self, container_id: str) -> Container:
        return _container(await _told(self._phones.reboot(container_id)))

    async def remove(self, container_id: str) -> None:
        await _told(self._phones.remove(container_id))

    async def inspect(self, container_id: str) -> Container | None:
        status = await _told(self._phones.inspect(container_id))
        return _container(status) if status is not None else None

    async def find(self, labels: Mapping[str, str]) -> list[Container]:
        return [_container(status) for status in await _told(self._phones.find(labels))]

    async def copy_volume(self, source: str, target: str, labels: Mapping[str, str]) -> Copied:
        copied = await _told(self._phones.copy_volume(source, target, labels, anew=True))
        return Copied(size=copied.size, sha256=copied.sha256)

    async def remove_volume(self, name: str) -> None:
        await _told(self._phones.remove_volume(name))

    async def volumes(self, labels: Mapping[str, str]) -> list[Volume]:
        return [_volume(labelled) for labelled in await _told(self._phones.volumes(labels))]

    async def close(self) -> None:
        """There is nothing to close: a farm is asked by one connection a question."""

    def _plan(self, plan: ContainerPlan) -> Plan:
        return Plan(
            name=plan.name,
            volume=plan.volume,
            labels=dict(plan.labels),
            model=Model(
                serial=f"CP{plan.device_id.hex[-12:].upper()}",
                release=plan.android_version,
                sdk=_SDKS.get(plan.android_version.partition(".")[0], 33),
                abis=plan.abis,
                width=plan.width,
                height=plan.height,
                density=plan.dpi,
                cores=plan.cpu_cores,
                memory_bytes=plan.memory_mib << 20,
                storage_bytes=plan.storage_gib << 30,
                boot_seconds=self._boot_seconds,
            ),
        )


async def _told(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except FarmRefused as refused:
        raise ProviderRefused(_REFUSALS[refused.code], refused.detail) from None
    except FarmAway as away:
        raise ProviderAway(str(away)) from None


def _container(status: Status) -> Container:
    on = status.state in ("booting", "running")
    return Container(
        id=status.name,
        name=status.name,
        volume=status.volume,
        labels=status.labels,
        state=status.state,
        address=(status.host, status.port) if on else None,
        created_at=_moment(status.created_at),
    )


def _volume(labelled: Labelled) -> Volume:
    return Volume(name=labelled.name, labels=labelled.labels, created_at=_moment(labelled.created_at))


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
