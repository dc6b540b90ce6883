"""Which of several workers runs which tests, and in which order."""

from pathlib import PurePath
from typing import Any

from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "bff_admin": "bff_admin",
    "bff_user": "bff_user",
    "consistency": "consistency",
    "shared/bus": "rabbitmq",
    "journeys": "rabbitmq",
    "test_servers.py": "rabbitmq",
}
"""Folders and files whose tests share a whole platform, its services, or a server that takes long to start."""
IN_LINE = ("consistency", "core", "cache", "shared/bus", "journeys", "deploy", "bff_admin", "bff_user", "shared")
"""The checker's platform first and the journeys' in the middle, so that the two do not starve each other; short files
last, so that no worker begins with something long while the others are at their end."""


def place_in_line(path: PurePath) -> int:
    """Of a file below `tests`."""
    folders = [str(each) for each in path.parents]
    return next((IN_LINE.index(folder) for folder in folders if folder in IN_LINE), len(IN_LINE))


class Together(LoadScopeScheduling):
    """What stands on the same services is run by one worker, everything else file by file.

    In place of the marks that loadgroup reads: with pytest 9.2 it no longer finds them, and scatters every test.
    """

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        path = PurePath(*PurePath(file).parts[1:])
        return next((TOGETHER[place] for place in map(str, (path, *path.parents)) if place in TOGETHER), file)
