"""A volume's content as a tar archive, a chunk at a time."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from .port import Copied

_CHUNK = 1 << 20


def hashed(archive: Iterable[bytes]) -> Copied:
    """Over the names and contents of the files in a tar archive, in the order of their names."""
    size, files = 0, dict[str, str]()
    with tarfile.open(fileobj=cast("IO[bytes]", Stream(iter(archive))), mode="r|") as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() else None
            files[member.name] = _digest(content) if content else (member.linkname or member.name)
            size += member.size
    whole = hashlib.sha256()
    for name, digest in sorted(files.items()):
        whole.update(f"{name}\0{digest}\0".encode())
    return Copied(size=size, sha256=whole.hexdigest())


class Stream:
    """Chunks as a file that is read once from its beginning."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left: bytes = b""

    def read(self, size: int) -> bytes:
        parts, wanted = list[bytes](), size
        while wanted > 0:
            if not self._left:
                self._left = next(self._chunks, b"")
                if not self._left:
                    break
            part, self._left = self._left[:wanted], self._left[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
