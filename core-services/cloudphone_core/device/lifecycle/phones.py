"""A device's phone: the container that a generation of the device runs in, turned on and off. Every step may be
repeated."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from uuid import UUID

from cloudphone_shared.errors import Unavailable

from ..operations.job import DeviceFacts, Job, WorkFailed
from ..providers.port import DEPLOYMENT, DEVICE, GENERATION, Container, ContainerPlan, ProviderRefused

SNAPSHOT = "cloudphone.snapshot"
"""Label of a volume that is a snapshot: its id."""

_FIRST_LOOK, _LAST_LOOK = 0.1, 1.0
"""Seconds between looks at a phone that boots, longer each time."""


def labels_of(job: Job, **more: str) -> dict[str, str]:
    return {DEPLOYMENT: job.settings.deployment_id, DEVICE: str(job.device.id), **more}


def volume_name(device_id: UUID, generation: int) -> str:
    """Of the device's container, too. No name ever comes again."""
    return f"phone-{device_id}-{generation}"


async def turned_on(job: Job, *, since: int = 0) -> Container:
    """The device's phone, booted and heard by adb. `since`: the progress it begins at, in percent.

    Raises WorkFailed, ProviderRefused, Unavailable, and what `Job.progress` does.
    """
    await job.progress(since + 5, "making the phone")
    container = await _made(job)
    await job.point("made")
    await job.progress(since + 20, "turning the phone on")
    if container.state not in ("booting", "running") or container.address is None:
        container = await job.provider.start(container.id)
    await job.point("on")
    return await _booted(job, container, since)


async def turned_off(job: Job) -> None:
    """A phone that is not there is off."""
    device = job.device
    if device.address:
        with contextlib.suppress(Unavailable):
            await job.adb.disconnect(device.address)
    for container in await _containers(job):
        await unless_unknown(job.provider.stop(container.id))


async def remove_containers(job: Job, *, but: str | None = None) -> None:
    """All that the device ever had, beside the one with the volume `but`. Their volumes stay."""
    if job.device.address:
        with contextlib.suppress(Unavailable):
            await job.adb.disconnect(job.device.address)
    for container in await _containers(job):
        if container.volume != but:
            await unless_unknown(job.provider.remove(container.id))


async def remove_volumes(job: Job) -> None:
    """All that bear the device's label, snapshots among them, and the one that its row named."""
    labelled = {volume.name for volume in await job.provider.volumes(labels_of(job))}
    for name in sorted(labelled | {job.operation.request.get("volume") or ""} - {""}):
        await unless_unknown(job.provider.remove_volume(name))


async def unless_unknown(asked: Awaitable[object]) -> None:
    """What is not there needs nothing done to it."""
    try:
        await asked
    except ProviderRefused as refused:
        if refused.code != "unknown":
            raise


async def _made(job: Job) -> Container:
    """The container of the device's present generation; its name is recorded before it is made, so that whoever
    cleans knows of it."""
    device = job.device
    name = device.volume_name or volume_name(device.id, device.generation)
    if device.volume_name is None:
        await job.record(volume_name=name)
    await job.point("named")
    container = await job.provider.inspect(device.container_id) if device.container_id else None
    if container is None or container.volume != name:
        labels = labels_of(job, **{GENERATION: str(device.generation)})
        found = [one for one in await job.provider.find(labels) if one.volume == name]
        container = found[0] if found else await job.provider.create(_plan(device, name, labels))
    if container.id != device.container_id:
        await job.record(container_id=container.id)
    return container


def _plan(device: DeviceFacts, name: str, labels: Mapping[str, str]) -> ContainerPlan:
    template = device.template
    return ContainerPlan(
        device_id=device.id,
        name=name,
        volume=name,
        labels=labels,
        image=template.image,
        android_version=template.android_version,
        abis=tuple(template.abis),
        cpu_cores=template.cpu_cores,
        memory_mib=template.memory_mib,
        storage_gib=template.storage_gib,
        width=template.width,
        height=template.height,
        dpi=template.dpi,
    )


async def _booted(job: Job, container: Container, since: int) -> Container:
    pause = _FIRST_LOOK
    while True:
        await job.progress(since + 40, "waiting until the phone has booted")
        present = await job.provider.inspect(container.id)
        if present is None or present.state in ("off", "crashed"):
            state = "gone" if present is None else present.state
            raise WorkFailed("phone-crashed", f"The phone was {state} before it had booted", retry_after=1.0)
        if present.address and await _answers(job, present.address):
            return present
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LAST_LOOK)


async def _answers(job: Job, address: tuple[str, int]) -> bool:
    """What a phone that boots does not answer yet, it may answer later."""
    name = f"{address[0]}:{address[1]}"
    try:
        await job.adb.connect(name)
        return await job.adb.state(name) == "device" and await job.adb.booted(name)
    except Unavailable:
        return False


async def _containers(job: Job) -> list[Container]:
    found = {one.id: one for one in await job.provider.find(labels_of(job))}
    for known in {job.device.container_id, job.operation.request.get("container")} - found.keys():
        if known and (container := await job.provider.inspect(known)):
            found[container.id] = container
    return list(found.values())
