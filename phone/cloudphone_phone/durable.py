"""Files that are whole or not there, whenever the machine stops."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """On the disk when this returns; before, the old content is."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """So that a name that was changed in it survives a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
