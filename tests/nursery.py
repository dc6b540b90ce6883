"""Where the tests' processes of the platform come from: forks of one that has imported everything, as `cloudphone up`
makes them, here each with an environment and a working directory of its own. See nursery_program.py.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from cloudphone_deploy.nursery import Order, Told
from tests.servers import Guard

WITHIN = 180.0
"""Seconds until a fork is there, on a machine that is busy with other things."""


class Fork:
    """Handled as a subprocess.Popen is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired([f"fork {self.pid}"], timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """One per test process, opened by the first order; it ends with the test process, and its forks with it."""

    _only: ClassVar["Nursery | None"] = None

    def __init__(self) -> None:
        folder = Guard.get().folder
        self._log = folder / "nursery.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("nursery_program.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        Guard.get().tell("watch", self.process.pid)
        self._ordering = threading.Lock()
        self._born: list[Fork] = []
        self._living: dict[int, Fork] = {}
        self._told = threading.Condition()
        self._over = False
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    def get(cls) -> "Nursery":
        if cls._only is None or cls._only._over:
            cls._only = cls()
        return cls._only

    def bear(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Fork:
        """A fork in `folder`, where its `log` is. `words` are our own command line, `prepare FILE`, or `run FILE …` for
        a Python program with its arguments."""
        surroundings = {"environment": {**os.environ, **environment}, "folder": str(folder)}
        log = folder / "log"
        log.touch()
        order = Order([json.dumps(surroundings), *words], str(log))
        with self._ordering, self._told:
            assert self.process.stdin
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")
            self.process.stdin.flush()
            if not self._told.wait_for(lambda: self._born or self._over, WITHIN) or not self._born:
                raise RuntimeError(f"no fork was born:\n{self._log.read_text()[-4000:]}")
            fork = self._born.pop()
        Guard.get().tell("watch", fork.pid)
        return fork

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            told = msgspec.json.decode(line, type=Told)
            with self._told:
                if told.event == "born":
                    self._living[told.pid] = fork = Fork(told.pid)
                    self._born.append(fork)
                elif fork := self._living.pop(told.pid, None):
                    fork.end(told.code)
                self._told.notify_all()
        self.process.wait()
        with self._told:
            self._over = True
            for fork in self._living.values():
                fork.end(-signal.SIGKILL)
            self._told.notify_all()
