"""One part of the laboratory, a process of ours or a server, that the nemesis may kill, freeze and start again."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cloudphone_deploy.supervisor import Child, Program

END_SECONDS = 15.0


class Process:
    """Keeps its port over restarts; nobody but its owner starts it again. `url` is None where it has none alone."""

    def __init__(self, program: Program, log: Path, *, url: str | None = None) -> None:
        self.url = url
        self.log = log
        self._program = program
        self._child = Child(program, log)
        self._frozen = False

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.running

    async def start(self) -> None:
        """Returns once it is ready. Raises CommandError when it does not get there."""
        self._frozen = False
        child = self._child = Child(self._program, self.log)
        await child.spawn()
        await child.until_ready()

    async def kill(self) -> None:
        """kill -9; returns once it has ended."""
        if self.running:
            self._child.signal(signal.SIGKILL)
            await asyncio.wait_for(self._child.ended(), END_SECONDS)

    async def end(self) -> None:
        """Orderly, with what it has in hand."""
        self.go_on()
        await self._child.stop()

    def stop(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        self._child.signal(signal.SIGSTOP)
        self._frozen = True

    def go_on(self) -> None:
        if self._frozen:
            self._child.signal(signal.SIGCONT)
            self._frozen = False

    async def restart(self, words: Sequence[str] | None = None) -> None:
        """kill -9 and start; from now on by the command line `words` when they are given."""
        await self.kill()
        if words is not None:
            self._program = msgspec.structs.replace(self._program, command=list(words))
        await self.start()

    async def ready(self) -> bool:
        return self.running and await self._program.ready()

    @property
    def command(self) -> list[str]:
        return list(self._program.command)
