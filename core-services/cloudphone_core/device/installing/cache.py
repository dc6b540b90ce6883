"""The APKs that this node has fetched: by their SHA-256, bounded, each fetched once however many phones want it."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from io import BufferedRandom
from pathlib import Path

from cloudphone_shared.errors import Unavailable
from cloudphone_shared.http.streams import Flow

Fetch = Callable[[str, int], AbstractAsyncContextManager[Flow]]
"""(url, offset): the file's bytes from there on."""
_ATTEMPTS = 3
_TURN_SECONDS = 0.2


class Damaged(Exception):
    """What came is not what its SHA-256 says, also the second time."""


class ApkCache:
    """Holds `most` bytes at most, and what is in use beyond that. Processes may share the folder.

    A file that came in part is gone on with where it stands, also by another process.
    """

    def __init__(self, folder: Path, most: int, fetch: Fetch) -> None:
        self._folder, self._most, self._fetch = folder, most, fetch
        self._wanted: dict[str, int] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._came: dict[str, int] = {}

    @contextmanager
    def held(self, sha256: str) -> Generator[None]:
        """As long as this lasts the file is not removed. Who is the last to let go of one that has not come ends it."""
        self._wanted[sha256] = self._wanted.get(sha256, 0) + 1
        try:
            yield
        finally:
            self._wanted[sha256] -= 1
            if not self._wanted[sha256]:
                del self._wanted[sha256]
                if task := self._fetching.pop(sha256, None):
                    task.cancel()

    async def path(self, sha256: str, size: int, url: str) -> Path:
        """Of the whole file. Raises Damaged, OSError for a full disk, NotFound, Unavailable."""
        path = self._folder / f"{sha256}.apk"
        while not _is_whole(path, size):
            task = self._fetching.get(sha256)
            if task is None:
                task = self._fetching[sha256] = asyncio.create_task(self._fetched(path, sha256, size, url))
                task.add_done_callback(lambda done: self._ended(sha256, done))
            # One who gives up must not take it from the others who wait for it.
            await asyncio.shield(task)
        os.utime(path)
        return path

    def came(self, sha256: str) -> int:
        """Bytes that have come of a file that is being fetched."""
        return self._came.get(sha256, 0)

    def _ended(self, sha256: str, task: "asyncio.Task[None]") -> None:
        if self._fetching.get(sha256) is task:
            del self._fetching[sha256]
        if not task.cancelled():
            task.exception()

    async def _fetched(self, path: Path, sha256: str, size: int, url: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("ab+") as file:
            while not _locked(file):
                if _is_whole(path, size):
                    return
                await asyncio.sleep(_TURN_SECONDS)
            if _is_whole(path, size):
                return
            self._make_room(size)
            try:
                await self._whole(file, sha256, size, url)
                part.rename(path)
            except Damaged:
                part.unlink(missing_ok=True)
                raise
            finally:
                self._came.pop(sha256, None)

    async def _whole(self, file: BufferedRandom, sha256: str, size: int, url: str) -> None:
        for _ in range(2):
            await self._bytes(file, sha256, size, url)
            if await asyncio.to_thread(_digest, file) == sha256:
                return
            file.truncate(0)
        raise Damaged

    async def _bytes(self, file: BufferedRandom, sha256: str, size: int, url: str) -> None:
        """Raises Unavailable when it breaks off again and again; what has come stays."""
        for attempt in range(_ATTEMPTS):
            came = self._came[sha256] = file.seek(0, os.SEEK_END)
            if came >= size:
                return
            try:
                async with self._fetch(url, came) as flow:
                    async for piece in flow.pieces():
                        file.write(piece)
                        self._came[sha256] += len(piece)
                file.flush()
            except Unavailable:
                file.flush()
                if attempt == _ATTEMPTS - 1:
                    raise
        if file.seek(0, os.SEEK_END) < size:
            raise Unavailable("app", "the file ended too soon")

    def _make_room(self, size: int) -> None:
        """Removes what was longest not used, but nothing that is in use, and nobody's half file."""
        files = sorted(
            (path for path in self._folder.glob("*.apk") if path.stem not in self._wanted),
            key=lambda path: path.stat().st_mtime,
        )
        held = sum(path.stat().st_size for path in self._folder.glob("*.apk"))
        for path in files:
            if held + size <= self._most:
                return
            held -= path.stat().st_size
            path.unlink(missing_ok=True)


def _is_whole(path: Path, size: int) -> bool:
    """A file has its name only once it is whole."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size == size
    return False


def _locked(file: BufferedRandom) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _digest(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
