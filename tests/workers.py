"""Which of several workers runs which tests, and in which order."""

from pathlib import PurePath
from typing import Any

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("bff_admin", "bff_user", "consistency", "journeys")
"""Folders whose tests share a whole platform, or its services."""
IN_LINE = ("consistency", "core", "shared", "cache", "bff_admin", "bff_user", "journeys", "deploy", "bench")
"""The checker's platform first and the journeys' in the middle, so that the two do not starve each other; short files
last, so that no worker begins with something long while the others are at their end."""


def place_in_line(path: PurePath) -> int:
    """Of a file below `tests`."""
    folder = path.parts[0]
    return IN_LINE.index(folder) if folder in IN_LINE else len(IN_LINE)


class Together(LoadScopeScheduling):
    """What stands on the same services is run by one worker, everything else file by file.

    In place of the marks that loadgroup reads: with pytest 9.2 it no longer finds them, and scatters every test.
    """

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = PurePath(file).parts[1]
        return folder if folder in TOGETHER else file
