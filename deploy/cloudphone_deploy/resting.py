"""The demo where phones are real: none of them is on yet, so nothing may claim that it runs."""

from uuid import UUID

from msgspec.structs import replace

from cloudphone_core.device.seed import SeedDevice
from cloudphone_shared.contracts.device import Provider

from .dataset import Dataset

PHONES = 12
"""How many are turned on at once, once there is something to turn them on."""


def at_rest(data: Dataset, provider: Provider) -> Dataset:
    """The same rows; devices that ran are stopped, and their last run, which had no end, is left out."""
    return replace(
        data,
        devices=[_off(replace(device, provider=provider)) for device in data.devices],
        runs=[run for run in data.runs if run.stopped_at is not None],
    )


def first_running(data: Dataset) -> tuple[UUID, list[UUID]]:
    """The device that a newcomer is shown, which is left for him to start, and those that are turned on."""
    shown, *others = [device.id for device in data.devices if device.state == "running"]
    return shown, others[:PHONES]


def _off(device: SeedDevice) -> SeedDevice:
    if device.state != "running":
        return device
    return replace(device, state="stopped", adb_host=None, adb_port=None, run_id=None, started_at=None)
