"""Keeps programs running: starts them, waits until they are ready, starts crashed ones again, stops all in order."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from cloudphone_deploy import launch
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import refusing
from cloudphone_deploy.nursery import Fork, Nursery

READY_SECONDS = 30.0
BACKOFF_SECONDS = (0.2, 30.0)
"""Before the first restart, and the most before any; doubled each time, forgotten after STEADY_SECONDS of life."""
STEADY_SECONDS = 60.0
LOG_BYTES = 20_000_000


def _nothing() -> None:
    """A program that needs no preparation."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """`ready` is asked until it answers True; `prepare` runs before each start.

    With a `nursery` it is a fork of that, and `command` the words of our own command line.
    `death_signal` is what the kernel sends when the supervisor dies; `user` is launch's USER.
    """

    name: str
    command: list[str]
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str]
    prepare: Callable[[], None] = _nothing
    nursery: Nursery | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 12.0
    ready_seconds: float = READY_SECONDS
    death_signal: int = signal.SIGKILL
    user: str = "same"


class Child:
    """One program, over all its starts. `pid` changes with each."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.stopping = False
        self.keeper: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | Fork | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def spawn(self) -> None:
        program = self.program
        program.prepare()
        if program.nursery:
            self._process = await program.nursery.bear(program.command, self.log)
            return
        with refusing(self.log), self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *launched(program.command, program.death_signal, program.user),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=program.env,
                # Ctrl-C reaches the supervisor alone, which then stops them in order.
                start_new_session=True,
            )

    async def until_ready(self) -> None:
        """Raises CommandError when it ends first or takes longer than it may."""
        assert self._process is not None
        seconds = self.program.ready_seconds
        end = time.monotonic() + seconds
        while not await self.program.ready():
            if self._process.returncode is not None:
                raise CommandError(f"{self.program.name} did not start ({self.last_words()}); its log is {self.log}.")
            if time.monotonic() > end:
                raise CommandError(f"{self.program.name} was not ready within {seconds:.0f} s; its log is {self.log}.")
            await asyncio.sleep(0.02)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Its own signal first, SIGKILL when its time is up."""
        self.stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_seconds):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def last_words(self) -> str:
        lines = [line for line in tail(self.log).splitlines() if line.strip()]
        return (
            lines[-1].strip().removeprefix("cloudphone: ")
            if lines
            else f"exit code {self._process.returncode if self._process else '?'}"
        )


class Supervisor:
    """`tell` gets a line for whatever a person should know; `changed` is called when a program has a new pid."""

    def __init__(self, logs: Path, *, tell: Callable[[str], None], changed: Callable[[], None] = _nothing) -> None:
        self.children: dict[str, Child] = {}
        self._logs = logs
        self._tell = tell
        self._changed = changed

    async def start(self, program: Program) -> None:
        """Returns once it is ready. Raises CommandError when it does not get there."""
        log = self._logs / f"{program.name}.log"
        _keep_short(log)
        child = self.children[program.name] = Child(program, log)
        await child.spawn()
        await child.until_ready()
        child.keeper = asyncio.create_task(self._keep(child))

    async def stop(self, *order: list[str]) -> None:
        """Groups of names, one after the other; whatever is in none of them comes first."""
        named = {name for group in order for name in group}
        for group in ([name for name in self.children if name not in named], *order):
            await asyncio.gather(*(self._end(self.children[name]) for name in group if name in self.children))

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.children.items()}

    async def _end(self, child: Child) -> None:
        child.stopping = True
        if child.keeper:
            child.keeper.cancel()
            await asyncio.wait([child.keeper])
        await child.stop()

    async def _keep(self, child: Child) -> None:
        pause, most = BACKOFF_SECONDS
        while True:
            began = time.monotonic()
            code = await child.ended()
            if child.stopping:
                return
            if time.monotonic() - began > STEADY_SECONDS:
                pause = BACKOFF_SECONDS[0]
            name = child.program.name
            self._tell(f"{name} ended ({_how(code)})" + (f": {child.last_words()}" if code > 0 else ""))
            self._tell(f"{name} is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, most)
            await self._again(child)

    async def _again(self, child: Child) -> None:
        try:
            _keep_short(child.log)
            await child.spawn()
            self._changed()
            await child.until_ready()
        except CommandError as error:
            self._tell(str(error))
            await child.stop()
            child.stopping = False
        else:
            self._tell(f"{child.program.name} is back")


def launched(command: list[str], death_signal: int = signal.SIGKILL, user: str = "same") -> list[str]:
    """`command`, tied to the life of this process. It must be started from the main thread."""
    bare_python = [sys.executable, "-I", "-S", launch.__file__]
    return [*bare_python, str(os.getpid()), str(int(death_signal)), user, *command]


def tail(log: Path, size: int = 4096) -> str:
    """The end of a log, at most `size` bytes."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode(errors="replace")
    return ""


def _keep_short(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
