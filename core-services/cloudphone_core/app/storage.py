"""Where applications' files lie: objects in a folder or in an S3 bucket."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from cloudphone_shared.contracts.upload import StorageFull
from cloudphone_shared.errors import NotFound, Unavailable

READ_BYTES = 1 << 20
WRITE_BYTES = 8 << 20
_FULL = re.compile(r"os error (28|122)\b|StorageFull|EntityTooLarge|XMinioStorageFull|QuotaExceeded")


class Storage:
    """Objects by key. `reserve` bytes of a folder's disk stay free.

    Raises Unavailable where the store gives no answer, StorageFull where it has no room.
    """

    def __init__(self, url: str, *, reserve: int = 0) -> None:
        parts = urlsplit(url)
        self._url = url
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._reserve = reserve
        self._opened: ObjectStore | None = None

    async def put(self, key: str, content: bytes | bytearray) -> None:
        self.check_room(len(content))
        try:
            await obstore.put_async(self._store(), key, content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _trouble(error) from error

    def put_all(self, key: str, chunks: Iterable[bytes]) -> None:
        """All or nothing, in constant memory. Blocks; not for an event loop."""
        try:
            with obstore.open_writer(self._store(), key, buffer_size=WRITE_BYTES, max_concurrency=2) as writer:
                for chunk in chunks:
                    writer.write(chunk)
        except (BaseError, OSError) as error:
            raise _trouble(error) from error

    def read_all(self, key: str) -> Iterator[bytes]:
        """Blocks; not for an event loop."""
        try:
            for chunk in obstore.get(self._store(), key).stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise _trouble(error) from error

    def open(self, key: str) -> BufferedReader:
        """Seekable. Its reads block."""
        try:
            return BufferedReader(_Reading(obstore.open_reader(self._store(), key)), READ_BYTES)
        except (BaseError, OSError) as error:
            raise _trouble(error) from error

    async def get(self, key: str) -> bytes:
        """A small object. Raises NotFound."""
        try:
            return bytes(await (await obstore.get_async(self._store(), key)).bytes_async())
        except FileNotFoundError:
            raise NotFound from None
        except (BaseError, OSError) as error:
            raise _trouble(error) from error

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces. Raises NotFound before the first."""
        try:
            found = await obstore.get_async(self._store(), key, options={"range": (start, end)})
        except FileNotFoundError:
            raise NotFound("The file is not in the store") from None
        except (BaseError, OSError) as error:
            raise _trouble(error) from error
        return _pieces(found)

    async def delete(self, *keys: str) -> None:
        """Those that are not there are deleted already."""
        for key in keys:
            try:
                await obstore.delete_async(self._store(), key)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _trouble(error) from error

    def check_room(self, size: int) -> None:
        """Whether the folder's disk has room for `size` more bytes; a bucket always has. Raises StorageFull."""
        if self._folder is None:
            return
        self._store()
        left = shutil.disk_usage(self._folder).free - self._reserve
        if size > left:
            raise StorageFull(
                f"The store's disk has room for {max(0, left) >> 20} MiB more: make room, or ask who runs this",
                room=max(0, left),
            )

    async def ready(self) -> bool:
        try:
            await asyncio.to_thread(self._store)
        except Unavailable:
            return False
        return True

    def _store(self) -> ObjectStore:
        if self._opened is None:
            self._opened = _open(self._url, self._folder)
        return self._opened


def _open(url: str, folder: Path | None) -> ObjectStore:
    try:
        if folder is not None:
            return LocalStore(folder, mkdir=True)
        parts = urlsplit(url)
        options: dict[str, Any] = dict(parse_qsl(parts.query))
        allowed = {"allow_http": True} if options.get("endpoint", "").startswith("http://") else {}
        return from_url(parts._replace(query="").geturl(), config=options or None, client_options=allowed or None)  # pyright: ignore
    except (BaseError, OSError, ValueError) as error:
        raise _trouble(error) from error


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in found.stream(min_chunk_size=READ_BYTES):
            yield piece
    except (BaseError, OSError) as error:
        raise _trouble(error) from error


def _trouble(error: Exception) -> Exception:
    reason = str(error).partition("\n")[0]
    if _FULL.search(str(error)):
        return StorageFull("The store has no room left: what had arrived before is kept")
    return Unavailable("app storage", reason)


class _Reading(RawIOBase):
    """An object as Python's own readers want a file."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readinto(self, buffer: Any, /) -> int:
        try:
            content = memoryview(self._reader.read(len(buffer)))
        except BaseError as error:
            raise _trouble(error) from error
        buffer[: len(content)] = content
        return len(content)
