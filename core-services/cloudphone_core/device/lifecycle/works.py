"""The works that bring a device from one state to the next. Begun again after a crash, each goes on from there."""

from typing import Any

from ..operations.job import Job, Works
from . import phones
from .phones import volume_name


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
}
