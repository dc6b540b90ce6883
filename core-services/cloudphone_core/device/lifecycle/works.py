"""The works that bring a device from one state to the next. Begun again after a crash, each goes on from there."""

from typing import Any

from ..operations.job import Cancelled, Job, WorkFailed, Works
from ..providers.port import GENERATION, ProviderRefused
from . import phones
from .copies import DAMAGED
from .phones import SNAPSHOT, volume_name


async def start(job: Job) -> dict[str, Any]:
    return _address(await phones.turned_on(job))


async def stop(job: Job) -> None:
    await job.progress(20, "turning the phone off")
    await phones.turned_off(job)
    await job.point("off")


async def reboot(job: Job) -> dict[str, Any]:
    """With all its data."""
    await job.progress(5, "turning the phone off")
    await phones.turned_off(job)
    await job.point("off")
    return _address(await phones.turned_on(job, since=30))


async def reset(job: Job) -> dict[str, Any]:
    """A new volume for the same owner; the old one goes with every byte. Snapshots stay."""
    await job.progress(5, "taking the old data away")
    await phones.turned_off(job)
    await _next_generation(job)
    await job.point("renamed")
    await _remove_former(job)
    await job.point("emptied")
    return _address(await phones.turned_on(job, since=30)) if job.operation.request["running"] else {}


async def clean(job: Job) -> None:
    """Nothing of its customer stays: no container, no volume, no snapshot."""
    await job.progress(10, "removing the phone")
    await phones.remove_containers(job)
    await job.point("removed")
    await job.progress(40, "removing its data")
    await phones.remove_volumes(job)
    await job.point("emptied")


async def snapshot(job: Job) -> dict[str, Any]:
    """A copy of the volume, which lies still meanwhile. Half a copy never stays."""
    request = job.operation.request
    target: str = request["snapshotVolume"]
    try:
        await job.progress(10, "copying the volume")
        labels = phones.labels_of(job, **{GENERATION: str(job.device.generation), SNAPSHOT: request["snapshotId"]})
        copied = await job.provider.copy_volume(request["volume"], target, labels)
        await job.point("copied")
        await job.progress(95, "copied")
    except (Cancelled, ProviderRefused):
        await phones.unless_unknown(job.provider.remove_volume(target))
        raise
    return {"snapshotId": request["snapshotId"], "size": copied.size, "sha256": copied.sha256}


async def restore(job: Job) -> None:
    """Into a new volume, so that the present one is there until the copy is whole and what it was."""
    request = job.operation.request
    await job.progress(10, "copying the snapshot")
    if job.device.generation == request["generation"]:
        await _copy_back(job, volume_name(job.device.id, request["generation"] + 1))
    await job.progress(80, "removing the former data")
    await _next_generation(job)
    await job.point("renamed")
    await _remove_former(job)
    await job.point("emptied")


async def _copy_back(job: Job, target: str) -> None:
    request = job.operation.request
    labels = phones.labels_of(job, **{GENERATION: str(request["generation"] + 1)})
    try:
        copied = await job.provider.copy_volume(request["snapshotVolume"], target, labels)
        await job.point("copied")
        if copied.sha256 != request["sha256"]:
            raise WorkFailed(DAMAGED, "The snapshot is no longer what it was when it was taken")
    except (WorkFailed, ProviderRefused):
        await phones.unless_unknown(job.provider.remove_volume(target))
        raise


async def delete_snapshot(job: Job) -> None:
    await job.progress(20, "removing the snapshot")
    await phones.unless_unknown(job.provider.remove_volume(job.operation.request["snapshotVolume"]))
    await job.point("removed")


async def _next_generation(job: Job) -> None:
    """The row knows of the new volume before the old one goes."""
    former: int = job.operation.request["generation"]
    if job.device.generation == former:
        name = volume_name(job.device.id, former + 1)
        await job.record(generation=former + 1, volume_name=name, container_id=None)


async def _remove_former(job: Job) -> None:
    await phones.remove_containers(job, but=job.device.volume_name)
    if former := job.operation.request.get("volume"):
        await phones.unless_unknown(job.provider.remove_volume(former))


def _address(container: phones.Container) -> dict[str, Any]:
    assert container.address is not None
    return {"adbHost": container.address[0], "adbPort": container.address[1]}


WORK: Works = {
    "start": start,
    "stop": stop,
    "freeze": stop,
    "reboot": reboot,
    "reset": reset,
    "clean": clean,
    "delete": clean,
    "snapshot": snapshot,
    "restore": restore,
    "delete_snapshot": delete_snapshot,
}
