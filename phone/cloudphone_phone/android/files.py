"""The phone's files: real ones in its volume, and those that Android makes up when they are read."""

import asyncio
import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .paths import BLOCK, SHARED, blocks, failure, plain, rounded, weight_of, within

_WRITABLE = (SHARED, "/data/local/tmp")
_READABLE = (*_WRITABLE, "/data/app", "/data/local", "/storage", "/data")
_HIDDEN = "/data/data"
_AT_FIRST = (
    *(f"{SHARED}/{name}" for name in ("Android", "DCIM", "Documents", "Download", "Movies", "Music", "Pictures")),
    "/data/local/tmp",
    "/data/app",
    "/data/data",
)
_TOP = ("data", "dev", "mnt", "proc", "sdcard", "storage", "system", "vendor")


class Stat(NamedTuple):
    """`mode` with the kind of file, as stat(2) has it; `size` in bytes, `modified` in seconds since 1970."""

    mode: int
    size: int
    modified: int


class Files:
    """Paths are the phone's, absolute. Methods raise OSError as the system calls they stand for do.

    Each file counts with the blocks that it takes and one more: neither bytes nor names can fill the host's disk.
    """

    def __init__(self, root: Path, staging: Path, capacity: int) -> None:
        self.capacity = capacity
        self.full = False
        self.made_up: dict[str, Callable[[], bytes]] = {}
        self._root, self._staging = root, staging
        self._staged = 0
        for path in _AT_FIRST:
            (root / path[1:]).mkdir(parents=True, exist_ok=True)
        self.used = weight_of(root) + weight_of(staging)

    @property
    def free(self) -> int:
        return 0 if self.full else max(0, self.capacity - self.used)

    def count(self, folder: Path) -> None:
        """What was put there beside us."""
        self.used += weight_of(folder)

    def discard(self, folder: Path) -> None:
        """One that belongs to the system, and so was not to be removed by path."""
        weight = weight_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self.used -= weight - weight_of(folder)

    def real(self, path: str) -> Path:
        """Where it is in the volume: never outside."""
        return self._root / plain(path)[1:]

    def stat(self, path: str) -> Stat | None:
        """None when there is none, or none that may be seen."""
        path = plain(path)
        if path in self.made_up:
            return Stat(stat.S_IFREG | 0o444, 0, 0)
        if path == "/" or path[1:] in _TOP or self._made_up_names(path):
            return Stat(stat.S_IFDIR | 0o755, BLOCK, 0)
        if not within(path, _READABLE) or (within(path, (_HIDDEN,)) and path != _HIDDEN):
            return None
        try:
            found = self.real(path).lstat()
        except OSError:
            return None
        return Stat(found.st_mode, found.st_size, int(found.st_mtime))

    def names(self, path: str) -> list[str] | None:
        """Sorted; None when it is no folder, or none that may be looked into."""
        path = plain(path)
        if path == "/":
            return list(_TOP)
        if made_up := self._made_up_names(path):
            return made_up
        if path[1:] in ("dev", "vendor", "mnt"):
            return []
        if not within(path, _READABLE) or within(path, (_HIDDEN,)) or path in ("/data", "/data/app", "/data/local"):
            return None
        try:
            return sorted(entry.name for entry in self.real(path).iterdir())
        except OSError:
            return None

    def open(self, path: str) -> BinaryIO:
        found = self.stat(path)
        if found is None:
            raise failure(errno.ENOENT, path)
        if stat.S_ISDIR(found.mode):
            raise failure(errno.EISDIR, path)
        return self.real(path).open("rb")

    def source(self, path: str) -> "FileSource":
        """What reading it gives, made up or real."""
        made = self.made_up.get(plain(path))
        return FileSource(None, made()) if made else FileSource(self.open(path), b"")

    def sink(self, path: str, *, append: bool) -> "FileSink":
        self._may_write(path)
        if not append:
            with self.stage() as staged:
                staged.move_to(path, 0o660)
        return FileSink(self, path)

    def append(self, path: str, data: bytes) -> None:
        self._may_write(path)
        self._claim(len(data), path)
        real = self.real(path)
        before = blocks(real)
        with real.open("ab") as file:
            file.write(data)
        self.used += blocks(real) - before

    def stage(self) -> "Staged":
        """A new file that is nowhere yet."""
        self._claim(BLOCK, "")
        self._staged += 1
        return Staged(self, self._staging / str(self._staged))

    def remove(self, path: str, *, recursive: bool = False) -> None:
        self._may_write(path)
        if plain(path) in _WRITABLE:
            raise failure(errno.EBUSY, path)
        real = self.real(path)
        weight = weight_of(real)
        if not real.is_dir():
            real.unlink()
        elif recursive:
            shutil.rmtree(real)
        else:
            raise failure(errno.EISDIR, path)
        self.used -= weight

    def remove_folder(self, path: str) -> None:
        """An empty one."""
        self._may_write(path)
        self.real(path).rmdir()
        self.used -= BLOCK

    def make_folder(self, path: str, *, parents: bool = False) -> None:
        self._may_write(path)
        if parents and not self.real(posixpath.dirname(plain(path))).is_dir():
            self.make_folder(posixpath.dirname(plain(path)), parents=True)
        if parents and self.real(path).is_dir():
            return
        self._claim(BLOCK, path)
        self.real(path).mkdir()
        self.used += BLOCK

    def move(self, path: str, to: str) -> None:
        self._may_write(path)
        self._may_write(to)
        if self.stat(path) is None:
            raise failure(errno.ENOENT, path)
        target = f"{to.rstrip('/')}/{posixpath.basename(plain(path))}" if self.real(to).is_dir() else to
        replaced = weight_of(self.real(target)) if self.real(target).is_file() else 0
        self.real(path).rename(self.real(target))
        self.used -= replaced

    def set_times(self, path: str, modified: float) -> None:
        self._may_write(path)
        os.utime(self.real(path), (modified, modified))

    def claim(self, size: int) -> None:
        """Raises OSError when so many bytes more do not fit."""
        self._claim(size, "")

    def _claim(self, size: int, path: str) -> None:
        if size > self.free:
            raise failure(errno.ENOSPC, path)

    def _may_write(self, path: str) -> None:
        path = plain(path)
        if not within(path, _WRITABLE):
            raise failure(errno.EACCES if within(path, ("/data", "/storage")) else errno.EROFS, path)

    def _made_up_names(self, path: str) -> list[str]:
        start = f"{path}/"
        return sorted({name[len(start) :].split("/")[0] for name in self.made_up if name.startswith(start)})


class Staged:
    """Gone at the end of the `with` block, unless it was moved to its place."""

    def __init__(self, files: Files, place: Path) -> None:
        self.place = place
        self.size = 0
        self._files = files
        self._file = place.open("xb")
        files.used += BLOCK

    def __enter__(self) -> "Staged":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self.place.exists():
            self._files.used -= weight_of(self.place)
            self.place.unlink()

    def write(self, data: bytes) -> None:
        """Raises OSError when the phone's disk is full."""
        grown = rounded(self.size + len(data)) - rounded(self.size)
        self._files.claim(max(grown, 1))
        self._file.write(data)
        self._file.flush()
        self.size += len(data)
        self._files.used += grown

    def release(self) -> None:
        """It will be counted where it goes."""
        self._files.used -= BLOCK + rounded(self.size)

    def sync(self) -> None:
        """Until it is on the disk: not for an event loop."""
        os.fsync(self._file.fileno())

    def move_to(self, path: str, mode: int, modified: float | None = None) -> None:
        """In one step: whoever looks sees the old file or the new one."""
        files = self._files
        files._may_write(path)  # pyright: ignore[reportPrivateUsage]
        target = files.real(path)
        if target.is_dir():
            raise failure(errno.EISDIR, path)
        self._file.flush()
        self.place.chmod(mode & 0o777 | 0o600)
        if modified is not None:
            os.utime(self.place, (modified, modified))
        replaced = weight_of(target) if target.exists() else 0
        self.place.rename(target)
        files.used -= replaced


class FileSource:
    """Reads a file, or what was made up, part by part."""

    def __init__(self, file: BinaryIO | None, text: bytes) -> None:
        self._file, self._text = file, text

    async def read(self, at_most: int = 1 << 18) -> bytes:
        # Nothing here ever waits, and others want to go on.
        await asyncio.sleep(0)
        if self._file is None:
            part, self._text = self._text[:at_most], self._text[at_most:]
            return part
        part = self._file.read(at_most)
        if not part:
            self._file.close()
        return part


class FileSink:
    def __init__(self, files: Files, path: str) -> None:
        self._files, self._path = files, path

    async def write(self, data: bytes) -> None:
        self._files.append(self._path, data)
