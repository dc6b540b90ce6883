"""Paths of the phone, and what the files behind real ones weigh."""

import errno
import os
import posixpath
import stat
from pathlib import Path

SHARED = "/storage/emulated/0"
_ALIASES = ("/sdcard", "/storage/self/primary", "/mnt/sdcard", "/storage/sdcard0")
BLOCK = 4096
_LONGEST_PATH = 4096


def plain(path: str) -> str:
    """The same path without dots, double slashes and aliases. Raises OSError for one that cannot be."""
    if "\0" in path or len(path) > _LONGEST_PATH:
        raise failure(errno.EINVAL, path[:100])
    path = "/" + posixpath.normpath(f"/{path}").lstrip("/")
    for alias in _ALIASES:
        if path == alias or path.startswith(f"{alias}/"):
            return SHARED + path[len(alias) :]
    return path


def within(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def rounded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def blocks(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return BLOCK + (rounded(found.st_size) if stat.S_ISREG(found.st_mode) else 0)


def weight_of(path: Path) -> int:
    """With all that is in it."""
    total = blocks(path)
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            total += sum(blocks(Path(folder, name)) for name in (*folders, *files))
    return total
