"""Processes whose wall clock can be set while they run: the machine's, and as many seconds as a file says.

`python -m cloudphone_deploy.consistency.clocks PROGRAM…` becomes that Python program, whose forks each have such a
file, `clocks/PID` in the data folder. `time.time` is moved, by which all that expires is judged; the monotonic clock is
not, as on a machine whose clock was set. What asks the kernel by itself, as `datetime.now` does, is not moved either.
"""

import mmap
import os
import runpy
import struct
import sys
import time
from pathlib import Path

_SECONDS = struct.Struct("=d")

_machines = time.time
_machines_ns = time.time_ns
_ahead = memoryview(bytearray(_SECONDS.size)).cast("d")


def move(folder: Path, pid: int, seconds: float) -> None:
    """Sets that process's clock so many seconds ahead of the machine's, at once. Raises OSError when it has none."""
    with _file(folder, pid).open("r+b") as file:
        file.write(_SECONDS.pack(seconds))


def install() -> None:
    """Before anything else is imported, since much keeps `time.time` as it found it."""
    time.time, time.time_ns = _moved, _moved_ns
    os.register_at_fork(after_in_child=_own)


def _moved() -> float:
    return _machines() + _ahead[0]


def _moved_ns() -> int:
    return _machines_ns() + round(_ahead[0] * 1_000_000_000)


def _own() -> None:
    global _ahead
    file = _file(Path(os.environ["CLOUDPHONE_DATA"]), os.getpid())
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(_SECONDS.pack(0.0))
    with file.open("r+b") as opened:
        _ahead = memoryview(mmap.mmap(opened.fileno(), _SECONDS.size)).cast("d")


def _file(folder: Path, pid: int) -> Path:
    return folder / "clocks" / str(pid)


if __name__ == "__main__":
    install()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
