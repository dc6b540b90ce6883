"""Where the processes of one machine come from: a process that has imported everything once, forked for each of them.

A start then takes a fraction of a second instead of seconds, and what they have in common is in memory once.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from cloudphone_deploy.errors import CommandError


class Order(msgspec.Struct, frozen=True):
    """`words` of the command line that a fork is to run; its output goes to `log`."""

    words: list[str]
    log: str


class Told(msgspec.Struct, frozen=True):
    """`born` answers an order, in their order. `ended` has the exit `code`, below 0 for a signal."""

    event: str
    pid: int
    code: int = 0


class Fork:
    """A process of the nursery, handled as a subprocess is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class Nursery:
    """The supervisor's side of it. It is opened again by the next order should it die, as its forks then do too."""

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._env = env
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._orders: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._expected: deque[asyncio.Future[Fork]] = deque()
        self._living: dict[int, Fork] = {}

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def open(self) -> None:
        """It begins to import; orders are taken from now on."""
        async with self._opening:
            if self._orders is not None:
                return
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=self._env,
                    start_new_session=True,
                )
            self._orders = self._process.stdin
            self._listening = asyncio.create_task(self._listen(self._process))

    async def bear(self, words: Sequence[str], log: Path) -> Fork:
        """A fork that runs the command line `words`. Raises CommandError when the nursery ends first."""
        await self.open()
        assert self._orders is not None
        born: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._expected.append(born)
        self._orders.write(msgspec.json.encode(Order(list(words), str(log))) + b"\n")
        return await asyncio.shield(born)

    async def close(self) -> None:
        """Its forks, if any are left, end with it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._listening is not None:
            await asyncio.wait([self._listening])

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            told = msgspec.json.decode(line, type=Told)
            if told.event == "born":
                fork = self._living[told.pid] = Fork(told.pid)
                self._expected.popleft().set_result(fork)
            elif fork := self._living.pop(told.pid, None):
                fork.end(told.code)
        await process.wait()
        self._lose()

    def _lose(self) -> None:
        self._orders = None
        for fork in self._living.values():
            fork.end(-signal.SIGKILL)
        self._living.clear()
        while self._expected:
            born = self._expected.popleft()
            born.set_exception(CommandError(f"The process that starts the others ended; its log is {self._log}."))
            # Whoever asked may have been cancelled meanwhile, and then nobody looks.
            born.exception()
