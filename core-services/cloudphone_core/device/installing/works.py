"""Installing on a phone and taking off again, step by step. Begun again after a crash, it goes on from there: what the
phone has is asked of the phone."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Announcement, announce_all
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.events.app import AppInstallCancelled, AppInstallRequested, AppUninstallRequested
from cloudphone_shared.events.device import (
    AppInstallCompleted,
    AppInstallFailed,
    AppInstallProgressed,
    AppUninstallCompleted,
    AppUninstallFailed,
)

from ..adb import PhoneRefused
from ..models import DeviceRow
from ..operations.job import Cancelled, Job, Outcome, Settlements, WorkFailed, Works
from .cache import ApkCache, Damaged
from .requests import is_anothers

T = TypeVar("T")
_FOLDER = "/data/local/tmp"
_REPORT_PERCENT = 10


class Installer:
    """`start_seconds`: how long a device that is not running is waited for; `look_seconds`: how often a long step is
    looked at, for its progress and for whether it is to be given up."""

    def __init__(self, cache: ApkCache, *, start_seconds: float = 30.0, look_seconds: float = 1.0) -> None:
        self._cache = cache
        self._start_seconds, self._look_seconds = start_seconds, look_seconds

    async def install(self, job: Job) -> dict[str, Any]:
        asked = msgspec.convert(job.operation.request, AppInstallRequested)
        _check_holder(job, asked)
        try:
            return await _Installation(job, asked, self._cache, self._start_seconds, self._look_seconds).done()
        except Cancelled:
            await _too_late_to_cancel(job, asked)
            return {"versionCode": asked.version_code}

    async def uninstall(self, job: Job) -> None:
        asked = msgspec.convert(job.operation.request, AppUninstallRequested)
        _check_holder(job, asked)
        await job.progress(10, "looking for the phone")
        if job.device.volume_name is None:
            # There never was a phone, or it was taken away with all its apps.
            return
        address = await _running(job, self._start_seconds)
        await job.progress(40, "taking the app off")
        await job.adb.uninstall(address, asked.package_name)
        await job.point("uninstalled")
        if await job.adb.installed(address, asked.package_name) is not None:
            raise WorkFailed("not-verified", "The phone says that it has taken the app off, and still has it")


def _check_holder(job: Job, asked: AppInstallRequested | AppUninstallRequested) -> None:
    """Work that waited may find the device in other hands."""
    if is_anothers(asked, job.device.owner_id):
        raise WorkFailed("device-reassigned", "The device has changed hands since it was asked for")


class _Installation:
    def __init__(
        self, job: Job, asked: AppInstallRequested, cache: ApkCache, start_seconds: float, look_seconds: float
    ) -> None:
        self._job, self._asked, self._cache = job, asked, cache
        self._start_seconds, self._look_seconds = start_seconds, look_seconds
        self._reported = ("", -_REPORT_PERCENT)

    async def done(self) -> dict[str, Any]:
        await self._report("downloading", 1, "looking for the phone")
        address = await _running(self._job, self._start_seconds)
        try:
            await self._on_phone(address)
        except (PhoneRefused, WorkFailed):
            # Whoever tries again brings a file of his own: this one would stay for ever.
            with contextlib.suppress(PhoneRefused, Unavailable):
                await _tidy(self._job, address, self._asked)
            raise
        await _tidy(self._job, address, self._asked)
        return {"versionCode": self._asked.version_code}

    async def _on_phone(self, address: str) -> None:
        job, asked = self._job, self._asked
        present = await job.adb.installed(address, asked.package_name)
        if present is None or present.version_code < asked.version_code:
            await self._brought(address)
            await job.point("brought")
            await self._report("installing", 80, "installing")
            await job.adb.install(address, _remote(asked), reinstall=True)
            await job.point("installed")
        elif present.version_code > asked.version_code:
            raise WorkFailed("INSTALL_FAILED_VERSION_DOWNGRADE", "A higher version is on the phone")
        await self._report("verifying", 95, "verifying")
        await _verified(job, address, asked)

    async def _brought(self, address: str) -> None:
        """The file onto the phone."""
        with self._cache.held(self._asked.sha256):
            path = await self._fetched()
            await self._job.point("downloaded")
            await self._pushed(address, path)

    async def _fetched(self) -> Path:
        asked = self._asked

        def percent() -> int:
            return 5 + 40 * self._cache.came(asked.sha256) // asked.size

        fetching = self._cache.path(asked.sha256, asked.size, asked.url)
        try:
            return await self._watched(fetching, "downloading", "fetching the app", percent)
        except Damaged:
            raise WorkFailed("download-damaged", "The app's file came damaged, twice") from None
        except DomainError as error:
            raise WorkFailed("download-refused", str(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise WorkFailed("node-full", "The node has no room for the app's file", retry_after=30.0) from error

    async def _pushed(self, address: str, path: Path) -> None:
        sent = 0

        def note(count: int) -> None:
            nonlocal sent
            sent = count

        def percent() -> int:
            return 45 + 30 * sent // self._asked.size

        pushing = self._job.adb.push(address, path, _remote(self._asked), 0o644, note)
        await self._watched(pushing, "transferring", "sending the app to the phone", percent)

    async def _watched(self, doing: Coroutine[Any, Any, T], state: str, step: str, percent: Callable[[], int]) -> T:
        """Its result; its progress is reported meanwhile, and it ends where the work is to be given up."""
        task = asyncio.ensure_future(doing)
        try:
            while not task.done():
                await self._report(state, percent(), step)
                await asyncio.wait([task], timeout=self._look_seconds)
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _report(self, state: str, percent: int, step: str) -> None:
        """Raises what `Job.progress` does."""
        await self._job.progress(percent, step)
        if state == self._reported[0] and percent < self._reported[1] + _REPORT_PERCENT:
            return
        self._reported = (state, percent)
        event = AppInstallProgressed(**_about(self._asked), state=state, progress=percent)
        async with self._job.database.writing() as session:
            await announce_all(session, [Announcement(event=event)])


async def _running(job: Job, within: float) -> str:
    """The address of the phone, which has booted. One that is not running is waited for `within` seconds."""
    device = await job.reload()
    if device.state == "running" and device.address is not None:
        return device.address
    # Not here: the device's own operations wait for this one.
    patient = (datetime.now(UTC) - job.operation.created_at).total_seconds() < within
    retry_after = min(1.0, within / 4) if patient else None
    raise WorkFailed("device-not-running", f"The device is {device.state}", retry_after=retry_after)


async def _verified(job: Job, address: str, asked: AppInstallRequested) -> None:
    present = await job.adb.installed(address, asked.package_name)
    if present is None or present.version_code != asked.version_code:
        found = "nothing" if present is None else f"version code {present.version_code}"
        raise WorkFailed("not-verified", f"After installing version code {asked.version_code} the phone has {found}")
    await job.point("verified")


def _remote(asked: AppInstallRequested) -> str:
    return f"{_FOLDER}/cloudphone-{asked.installation_id}.apk"


async def _tidy(job: Job, address: str, asked: AppInstallRequested) -> None:
    await job.adb.shell(address, ["rm", "-f", _remote(asked)])


async def _too_late_to_cancel(job: Job, asked: AppInstallRequested) -> None:
    """Returns when the app has been installed before anybody asked for the end; else raises Cancelled."""
    device = await job.reload()
    if device.state == "running" and device.address is not None:
        try:
            present = await job.adb.installed(device.address, asked.package_name)
            if present is not None and present.version_code == asked.version_code:
                return
            await _tidy(job, device.address, asked)
        except (PhoneRefused, Unavailable):
            raise Cancelled from None
    raise Cancelled


async def settle(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    """Tells the app service how it ended."""
    request = outcome.operation.request
    if outcome.operation.kind == "uninstall":
        about = _about(msgspec.convert(request, AppUninstallRequested))
        if outcome.state == "succeeded":
            return [Announcement(event=AppUninstallCompleted(**about))]
        return [Announcement(event=AppUninstallFailed(**about, code=outcome.code, error=outcome.detail))]
    about = _about(msgspec.convert(request, AppInstallCancelled))
    if outcome.state == "succeeded":
        return [Announcement(event=AppInstallCompleted(**about))]
    cancelled = outcome.state == "cancelled"
    failed = AppInstallFailed(**about, code=outcome.code, error=outcome.detail, cancelled=cancelled)
    return [Announcement(event=failed)]


def _about(asked: AppInstallRequested | AppInstallCancelled | AppUninstallRequested) -> dict[str, Any]:
    return {
        "installation_id": asked.installation_id,
        "device_id": asked.device_id,
        "tenant_id": asked.tenant_id,
        "attempt": asked.attempt,
    }


SETTLE: Settlements = {"install": settle, "uninstall": settle}


def works_of(installer: Installer) -> Works:
    return {"install": installer.install, "uninstall": installer.uninstall}
