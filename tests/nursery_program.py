"""The process whose forks the tests' platforms are made of. Passwords cost nothing there."""

import json
import os
import runpy
import sys
from pathlib import Path

from argon2 import PasswordHasher

from cloudphone_core.user import passwords
from cloudphone_deploy import launch, nursery_process

sys.path.insert(0, str(Path(__file__).parent.parent))


def run(words: list[str]) -> int:
    """`words` as Nursery.bear takes them, behind what surrounds the fork."""
    surroundings = json.loads(words[0])
    os.environ.clear()
    os.environ.update(surroundings["environment"])
    os.chdir(surroundings["folder"])
    kind, *rest = words[1:]
    launch.rename(rest[0] if kind == "serve" else kind)
    if kind == "run":
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")
        return 0
    return _whole([kind, *rest])


_whole = nursery_process._run

if __name__ == "__main__":
    nursery_process._run = run
    passwords._STRENGTH = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
    __import__("tests.shared.bus.worlds")
    nursery_process.main()
