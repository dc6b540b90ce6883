"""Many phones by name in one process: what Docker Engine is to containers. What was on is on again after a restart.

phones/NAME.json    what kind of phone it is, its volume, its port, and whether it shall be on
volumes/NAME/       its memory, which outlives it
labels/NAME.json    what that volume was labelled with, and when
"""

import asyncio
import errno
import fcntl
import os
import re
import resource
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import structlog

from .durable import replace_file, sync_folder
from .faults import NO_FAULTS, Faults
from .model import Model
from .phone import Phone, State
from .volume import Copied, VolumeUnusable, copy_volume

log = structlog.get_logger()

_OPEN_FILES = 65_536
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
Refusal = Literal["invalid", "unknown", "exists", "in-use", "unusable"]


class FarmRefused(Exception):
    """`code` for programs, and a sentence."""

    def __init__(self, code: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.code: Refusal = code
        self.detail = detail


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A phone as it was asked for. `port` 0: any free one, which it then keeps."""

    name: str
    volume: str
    model: Model = msgspec.field(default_factory=Model)
    labels: dict[str, str] = {}
    port: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is remembered of one: its plan, the port it was given, whether it shall be on, since when there is one."""

    plan: Plan
    port: int
    wanted: bool
    created_at: float = 0.0


class Labelled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A volume, whether a phone has it or not. `created_at` in seconds since 1970."""

    name: str
    labels: dict[str, str]
    created_at: float


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`state` as of now; `crashed`: it ended by itself. `host` and `port`: of adbd, when it is on."""

    name: str
    volume: str
    labels: dict[str, str]
    state: State
    host: str
    port: int
    faults: Faults
    created_at: float = 0.0


class Phones(Protocol):
    """What a provider asks for: of a farm in its own process, or of one elsewhere. All raise FarmRefused.

    Whatever is asked for twice is done once: who lost the answer asks again.
    """

    async def create(self, plan: Plan) -> Status: ...
    async def start(self, name: str) -> Status: ...
    async def stop(self, name: str) -> Status: ...
    async def reboot(self, name: str) -> Status: ...
    async def crash(self, name: str) -> Status: ...
    async def inflict(self, name: str, faults: Faults) -> Status: ...
    async def remove(self, name: str) -> None: ...
    async def inspect(self, name: str) -> Status | None: ...
    async def find(self, labels: Mapping[str, str]) -> list[Status]: ...
    async def copy_volume(
        self, volume: str, to: str, labels: Mapping[str, str] | None = None, *, anew: bool = False
    ) -> Copied: ...
    async def remove_volume(self, volume: str) -> None: ...
    async def volumes(self, labels: Mapping[str, str]) -> list[Labelled]: ...


class Farm:
    """`folder` is made when there is none, and is ours alone until `close`."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1") -> None:
        self._folder, self._host = folder, host
        self._kept: dict[str, Kept] = {}
        self._phones: dict[str, Phone] = {}
        self._doing: dict[str, asyncio.Lock] = {}
        self._lock: int | None = None

    async def open(self) -> None:
        """Starts those that shall be on. Raises FarmRefused when another process has this farm."""
        _allow_many_files()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("phones", "volumes", "labels"):
            (self._folder / name).mkdir(exist_ok=True)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FarmRefused("in-use", f"Another process runs the phones of {self._folder}") from None
        for path in sorted((self._folder / "phones").glob("*.json")):
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            self._kept[kept.plan.name] = kept
        for name in [name for name, kept in self._kept.items() if kept.wanted]:
            try:
                await self.start(name)
            except FarmRefused as refused:
                log.warning("phone_not_started", phone=name, reason=refused.detail)

    async def close(self) -> None:
        """Ends them all; those that were on will be on again."""
        await asyncio.gather(*(phone.stop() for phone in self._phones.values()))
        self._phones.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def create(self, plan: Plan) -> Status:
        """Off at first; a new volume gets its labels. Refused as `exists` when there is another one of that name, or
        one with that volume.
        """
        _check_name(plan.name)
        _check_name(plan.volume)
        present = self._kept.get(plan.name)
        if present is not None and present.plan != plan:
            raise FarmRefused("exists", f"There is another phone {plan.name}")
        if any(kept.plan.volume == plan.volume and kept.plan.name != plan.name for kept in self._kept.values()):
            raise FarmRefused("exists", f"The volume {plan.volume} belongs to another phone")
        if present is None:
            self._label(plan.volume, plan.labels)
            self._keep(Kept(plan=plan, port=plan.port, wanted=False, created_at=time.time()))
        return self._status(plan.name)

    async def start(self, name: str) -> Status:
        """Returns when adbd listens; `state` becomes `running` when it has booted. Refused as `unusable`."""
        async with self._one_at_a_time(name):
            kept = self._find(name)
            phone = self._phones.get(name) or self._phone(kept)
            try:
                phone = await self._started(phone, kept)
            except VolumeUnusable as error:
                raise FarmRefused("unusable", str(error)) from None
            except OSError as error:
                raise FarmRefused("unusable", f"The phone {name} cannot be started: {error.strerror}") from None
            self._phones[name] = phone
            self._keep(msgspec.structs.replace(kept, port=phone.address[1], wanted=True))
            return self._status(name)

    async def stop(self, name: str) -> Status:
        async with self._one_at_a_time(name):
            kept = self._find(name)
            if name in self._phones:
                await self._phones[name].stop()
            self._keep(msgspec.structs.replace(kept, wanted=False))
            return self._status(name)

    async def reboot(self, name: str) -> Status:
        await self._on(name).reboot()
        return self._status(name)

    async def crash(self, name: str) -> Status:
        """As if the phone had been killed: it stays down until it is started."""
        self._on(name).crash()
        return self._status(name)

    async def inflict(self, name: str, faults: Faults) -> Status:
        """Until others are inflicted, or this process ends."""
        kept = self._find(name)
        phone = self._phones.setdefault(name, self._phones.get(name) or self._phone(kept))
        await phone.inflict(faults)
        return self._status(name)

    async def remove(self, name: str) -> None:
        """Turns it off first; its volume stays. One that is not there is removed already."""
        async with self._one_at_a_time(name):
            phone = self._phones.pop(name, None)
            if phone is not None:
                await phone.stop()
            if self._kept.pop(name, None) is not None:
                self._path(name).unlink(missing_ok=True)
                sync_folder(self._folder / "phones")
        self._doing.pop(name, None)

    async def inspect(self, name: str) -> Status | None:
        """None when there is no such phone."""
        return self._status(name) if name in self._kept else None

    async def find(self, labels: Mapping[str, str]) -> list[Status]:
        """Those that have all these labels, by name."""
        return [
            self._status(name)
            for name, kept in sorted(self._kept.items())
            if labels.items() <= kept.plan.labels.items()
        ]

    async def copy_volume(
        self, volume: str, to: str, labels: Mapping[str, str] | None = None, *, anew: bool = False
    ) -> Copied:
        """A snapshot, or the way back from one. Refused while its phone is on, and when `to` is there.

        `anew`: a `to` that no phone has gives way.
        """
        source, target = self._volume(volume), self._volume(to)
        async with self._one_at_a_time(f"{to} volume"):
            if not source.is_dir():
                raise FarmRefused("unknown", f"There is no volume {volume}")
            if anew and source != target:
                await self._remove_volume(to)
            if target.exists():
                raise FarmRefused("exists", f"There is a volume {to}")
            try:
                copied = await asyncio.to_thread(copy_volume, source, target)
            except VolumeUnusable as error:
                raise FarmRefused("in-use", str(error)) from None
            self._label(to, labels or {})
            return copied

    async def remove_volume(self, volume: str) -> None:
        """With every byte in it. One that is not there is removed already."""
        self._volume(volume)
        async with self._one_at_a_time(f"{volume} volume"):
            await self._remove_volume(volume)

    async def volumes(self, labels: Mapping[str, str]) -> list[Labelled]:
        """Those that have all these labels, by name. One that nobody has used yet is there, too."""
        found = await asyncio.to_thread(self._labelled)
        return [volume for volume in found if labels.items() <= volume.labels.items()]

    async def _remove_volume(self, volume: str) -> None:
        folder = self._volume(volume)
        if any(kept.plan.volume == volume for kept in self._kept.values()):
            raise FarmRefused("in-use", f"The volume {volume} belongs to a phone")
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)
        # Last, so that what is left of one that could not be removed is still found.
        self._labels(volume).unlink(missing_ok=True)

    def _label(self, volume: str, labels: Mapping[str, str]) -> None:
        """Of one that has some already, they stay."""
        if not self._labels(volume).exists():
            labelled = Labelled(name=volume, labels=dict(labels), created_at=time.time())
            replace_file(self._labels(volume), msgspec.json.encode(labelled))

    def _labelled(self) -> list[Labelled]:
        paths = sorted((self._folder / "labels").glob("*.json"))
        return [msgspec.json.decode(path.read_bytes(), type=Labelled) for path in paths]

    def _labels(self, volume: str) -> Path:
        return self._folder / "labels" / f"{volume}.json"

    def _phone(self, kept: Kept) -> Phone:
        return Phone(self._volume(kept.plan.volume), model=kept.plan.model, host=self._host, port=kept.port)

    async def _started(self, phone: Phone, kept: Kept) -> Phone:
        """On another port, if any would do and somebody has taken its own. Raises VolumeUnusable and OSError."""
        try:
            await phone.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or kept.plan.port:
                raise
            faults = phone.faults
            phone = self._phone(msgspec.structs.replace(kept, port=0))
            await phone.inflict(faults)
            await phone.start()
        return phone

    def _find(self, name: str) -> Kept:
        if name not in self._kept:
            raise FarmRefused("unknown", f"There is no phone {name}")
        return self._kept[name]

    def _on(self, name: str) -> Phone:
        self._find(name)
        phone = self._phones.get(name)
        if phone is None or phone.state not in ("booting", "running"):
            raise FarmRefused("unusable", f"The phone {name} is not on")
        return phone

    def _status(self, name: str) -> Status:
        kept, phone = self._kept[name], self._phones.get(name)
        return Status(
            name=name,
            volume=kept.plan.volume,
            labels=kept.plan.labels,
            state=phone.state if phone else "off",
            host=self._host,
            port=kept.port,
            faults=phone.faults if phone else NO_FAULTS,
            created_at=kept.created_at,
        )

    def _keep(self, kept: Kept) -> None:
        if self._kept.get(kept.plan.name) != kept:
            replace_file(self._path(kept.plan.name), msgspec.json.encode(kept))
            self._kept[kept.plan.name] = kept

    def _one_at_a_time(self, name: str) -> asyncio.Lock:
        return self._doing.setdefault(name, asyncio.Lock())

    def _path(self, name: str) -> Path:
        return self._folder / "phones" / f"{name}.json"

    def _volume(self, volume: str) -> Path:
        _check_name(volume)
        return self._folder / "volumes" / volume


def _allow_many_files() -> None:
    """A phone that is on holds two, and many systems allow a process 1,024 unless it asks for more."""
    present, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(present, wanted), most))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise FarmRefused("invalid", f"{name!r} is no name: lower-case letters, digits, dots and dashes make one")
