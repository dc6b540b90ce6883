"""The package manager: what is installed, and how that changes in one step or not at all."""

import asyncio
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from cloudphone_phone.durable import sync_folder
from cloudphone_phone.faults import Faults
from cloudphone_phone.model import Model
from cloudphone_phone.volume import Package, Volume
from cloudphone_shared.apk import Apk, ApkRefused, read_apk, read_icon

from .files import Files, Staged
from .installing import InstallRefused, check

SYSTEM = {
    "com.android.launcher3": "Home",
    "com.android.settings": "Settings",
    "com.android.documentsui": "Files",
}
"""What the phone comes with, and its labels; not to be removed."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Of `pm install`: -d, -t, and not -R."""

    downgrade: bool = False
    test: bool = False
    replace: bool = True


class Packages:
    """`changed` is told the name of each package that comes, changes or goes."""

    def __init__(
        self,
        volume: Volume,
        files: Files,
        model: Model,
        faults: Callable[[], Faults],
        *,
        clock: Callable[[], float],
        crash: Callable[[], None],
        changed: Callable[[str, str], None],
    ) -> None:
        self._volume, self._files, self._model, self._faults = volume, files, model, faults
        self._clock, self._crash, self._changed = clock, crash, changed
        self._one_at_a_time = asyncio.Lock()
        self._putting: asyncio.Task[None] | None = None

    @property
    def installed(self) -> dict[str, Package]:
        """By name; without those the phone comes with."""
        return self._volume.contents.packages

    def label(self, name: str) -> str:
        package = self.installed.get(name)
        return package.label if package else SYSTEM.get(name, name)

    async def install(self, staged: Staged, options: Options) -> Package:
        """Raises InstallRefused; then nothing has changed."""
        async with self._one_at_a_time:
            await self._suffer()
            apk = await asyncio.to_thread(_read, staged)
            present = self.installed.get(apk.package)
            abi = check(
                apk,
                present,
                self._model,
                downgrade=options.downgrade,
                test=options.test,
                replace=options.replace,
            )
            if apk.package in SYSTEM:
                raise InstallRefused("INSTALL_FAILED_UPDATE_INCOMPATIBLE", f"{apk.package} is part of the system")
            if self._faults().crash_on_install:
                self._crash()
                await asyncio.get_running_loop().create_future()
            package = _package(apk, abi, present, self._clock())
            folder = self._files.real("/data/app") / package.folder
            # What has begun to change is finished, even if the one who asked for it hangs up.
            self._putting = asyncio.create_task(self._put(staged, folder, package, present))
            await asyncio.shield(self._putting)
        self._changed(package.name, "installed" if present is None else "updated")
        return package

    async def uninstall(self, name: str) -> None:
        """Raises InstallRefused."""
        async with self._one_at_a_time:
            if name not in self.installed:
                raise InstallRefused("DELETE_FAILED_INTERNAL_ERROR")
            package = self.installed.pop(name)
            await self._volume.save()
            self._discard(package)
            self._erase_data(name)
        self._changed(name, "removed")

    async def settle(self) -> None:
        """Until nothing is on its way any more."""
        if self._putting is not None:
            await asyncio.gather(self._putting, return_exceptions=True)

    def clear(self, name: str) -> bool:
        """Erases what the app keeps. Whether there is such an app."""
        if name not in self.installed:
            return name in SYSTEM
        self._erase_data(name)
        self._make_data(name)
        return True

    def icon(self, name: str) -> bytes | None:
        """PNG or WebP, as the APK has it."""
        try:
            return (self._volume.files / "data/app" / self.installed[name].folder / "icon").read_bytes()
        except (OSError, KeyError):
            return None

    async def _suffer(self) -> None:
        faults = self._faults()
        if faults.install_seconds:
            await asyncio.sleep(faults.install_seconds)
        if faults.install_failure:
            raise InstallRefused(faults.install_failure, "a fault that was asked for")

    async def _put(self, staged: Staged, folder: Path, package: Package, present: Package | None) -> None:
        try:
            await asyncio.to_thread(_move, staged, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InstallRefused("INSTALL_FAILED_INSUFFICIENT_STORAGE", error.strerror or "") from None
        staged.release()
        self._files.count(folder)
        self.installed[package.name] = package
        self._make_data(package.name)
        await self._volume.save()
        if present is not None:
            self._discard(present)

    def _discard(self, package: Package) -> None:
        self._files.discard(self._files.real("/data/app") / package.folder)

    def _make_data(self, name: str) -> None:
        if not self._data(name).is_dir():
            self._data(name).mkdir()
            self._files.count(self._data(name))

    def _erase_data(self, name: str) -> None:
        self._files.discard(self._data(name))

    def _data(self, name: str) -> Path:
        return self._files.real("/data/data") / name


def _read(staged: Staged) -> Apk:
    with staged.place.open("rb") as file:
        try:
            return read_apk(file)
        except ApkRefused as refused:
            raise InstallRefused(refused.failure, str(refused)) from None


def _move(staged: Staged, folder: Path) -> None:
    staged.sync()
    folder.mkdir()
    with staged.place.open("rb") as file:
        try:
            icon = read_icon(file)
        except ApkRefused:
            icon = None
    if icon:
        (folder / "icon").write_bytes(icon)
    staged.place.chmod(0o644)
    staged.place.rename(folder / "base.apk")
    sync_folder(folder)


def _package(apk: Apk, abi: str | None, present: Package | None, now: float) -> Package:
    return Package(
        name=apk.package,
        label=apk.label,
        version_code=apk.version_code,
        version_name=apk.version_name,
        min_sdk=apk.min_sdk,
        target_sdk=apk.target_sdk,
        abi=abi,
        permissions=apk.permissions,
        activity=apk.activity,
        signers=apk.signers,
        debuggable=apk.debuggable,
        size=apk.size,
        folder=f"{apk.package}-{secrets.token_urlsafe(9)}",
        installed_at=present.installed_at if present else now,
        updated_at=now,
    )
