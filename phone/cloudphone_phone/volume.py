"""A phone's volume: a folder with all that it remembers. Copied while the phone is off, it is a snapshot.

contents.json   installed packages, settings, properties; replaced as a whole, so never half written
files/          the phone's files under their own paths
staging/        what is on its way in; emptied when the phone starts
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path

import msgspec

from .durable import replace_file

FORMAT = 1


class VolumeUnusable(Exception):
    """In a sentence: another phone uses it, or its contents are not a phone's."""


class Package(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An installed app. `abi`: which of its native code runs, None when it brings none. `folder`: holds its APK."""

    name: str
    label: str
    version_code: int
    version_name: str
    min_sdk: int
    target_sdk: int
    abi: str | None
    permissions: tuple[str, ...]
    activity: str | None
    signers: tuple[str, ...]
    debuggable: bool
    size: int
    folder: str
    installed_at: float
    updated_at: float

    @property
    def apk(self) -> str:
        """Its path on the phone."""
        return f"/data/app/{self.folder}/base.apk"


class Contents(msgspec.Struct, kw_only=True, rename="camel"):
    """Settings are by namespace, then name."""

    format: int = FORMAT
    created_at: float
    packages: dict[str, Package] = {}
    properties: dict[str, str] = {}
    settings: dict[str, dict[str, str]] = {}


class Volume:
    """`folder` is made when there is none, and is ours alone until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.staging = folder / "staging"
        self.contents = Contents(created_at=0.0)
        self._lock: int | None = None
        self._one_at_a_time = asyncio.Lock()
        self._saving: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Raises VolumeUnusable, and OSError when the disk does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise VolumeUnusable(f"Another phone uses the volume {self.folder}") from None
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def save(self) -> None:
        """The contents as they are now; on the disk when this returns, and sometime if it is cancelled."""
        task = asyncio.create_task(self._save())
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        await asyncio.shield(task)

    async def settle(self) -> None:
        """Until all that was to be saved has been."""
        await asyncio.gather(*self._saving, return_exceptions=True)

    async def _save(self) -> None:
        async with self._one_at_a_time:
            await asyncio.to_thread(replace_file, self.folder / "contents.json", msgspec.json.encode(self.contents))

    def _load(self) -> None:
        path = self.folder / "contents.json"
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        try:
            self.contents = msgspec.json.decode(path.read_bytes(), type=Contents)
        except FileNotFoundError:
            self.contents = Contents(created_at=time.time())
            self.files.mkdir(exist_ok=True)
            replace_file(path, msgspec.json.encode(self.contents))
        except msgspec.MsgspecError as error:
            raise VolumeUnusable(f"{path} is not a phone's: {error}") from None
        if self.contents.format != FORMAT:
            raise VolumeUnusable(f"{path} has format {self.contents.format}, and only {FORMAT} is known here")
        self._forget_unknown_apps()

    def _forget_unknown_apps(self) -> None:
        """What a crash left between moving an APK and remembering it, or between forgetting it and deleting it."""
        known = {package.folder for package in self.contents.packages.values()}
        apps = self.files / "data" / "app"
        if apps.is_dir():
            for folder in apps.iterdir():
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """`size` in bytes of all files; `sha256`, in hexadecimal, of their paths and contents."""

    size: int
    sha256: str


def copy_volume(folder: Path, to: Path) -> Copied:
    """Of a phone that is off, to a folder that there is not yet: it is there when all is. Takes its time.

    Raises VolumeUnusable when the phone is on.
    """
    volume = Volume(folder)
    volume.open()
    try:
        half = to.with_name(f"{to.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(
            folder, half, ignore=lambda at, names: {"lock", "staging"} if Path(at) == folder else set[str]()
        )
        copied = _sum(half)
        half.rename(to)
        return copied
    finally:
        volume.close()


def _sum(folder: Path) -> Copied:
    sum_, size = hashlib.sha256(), 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            part = hashlib.file_digest(file, "sha256").digest()
        sum_.update(os.fsencode(path.relative_to(folder)) + b"\0" + part)
        size += path.stat().st_size
    return Copied(size=size, sha256=sum_.hexdigest())
