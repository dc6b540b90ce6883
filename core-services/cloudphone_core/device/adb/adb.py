"""Phones, asked through an adb server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from cloudphone_shared.contracts.phone import InputEvent, Swipe

from . import sync
from .channel import AdbServer, Channel, checked, within
from .errors import PhoneAway, PhoneRefused
from .packages import InstalledPackage, check_done, package_name, version_of
from .shell import ShellAnswer, answer, command_line
from .typing import Typists
from .vitals import LOOK, CpuTime, PhoneVitals, parse

State = Literal["device", "offline", "unauthorized"]
Progress = Callable[[int], None]
"""Called with the bytes sent so far."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_SAID = 1 << 20
_LARGEST_PICTURE = 32 << 20
_MOST_REMEMBERED = 20_000


class Adb:
    """Methods raise PhoneAway and PhoneRefused; `address` is `host:port`, as `connect` was told. All have a deadline:
    `deadline` in seconds, transfers for each part of them, installing `install_deadline`.
    """

    def __init__(self, server: tuple[str, int], *, deadline: float = 10.0, install_deadline: float = 300.0) -> None:
        self._server = AdbServer(*server)
        self._deadline, self._install_deadline = deadline, install_deadline
        self._typists = Typists(self._server)
        self._cpu: dict[str, CpuTime] = {}

    async def close(self) -> None:
        self._typists.close()

    async def connect(self, address: str) -> None:
        """Returns when it is there as `device`. Refused as `unauthorized`."""
        async with within(self._deadline, address):
            async with self._server.opened(f"host:connect:{checked(address)}") as channel:
                said = await channel.words()
            state = await self._settled(address)
        if state == "unauthorized":
            raise PhoneRefused("unauthorized", f"The phone {address} does not know this adb's key")
        if state != "device":
            # As long as the server keeps the old connection it makes no new one.
            await self.disconnect(address)
            raise PhoneAway(address, said.strip()[:200])

    async def disconnect(self, address: str) -> None:
        """One that is not connected is disconnected already."""
        self._cpu.pop(address, None)
        async with within(self._deadline, address):
            try:
                async with self._server.opened(f"host:disconnect:{checked(address)}") as channel:
                    await channel.words()
            except PhoneAway as away:
                if "no such device" not in away.reason:
                    raise

    async def state(self, address: str) -> State | None:
        """As the adb server knows it; None: it does not know the phone."""
        return (await self.states()).get(address)

    async def states(self) -> dict[str, State]:
        """Of all phones that the adb server knows, by address."""
        async with within(self._deadline, "adb server"), self._server.opened("host:devices") as channel:
            return _states(await channel.words())

    async def changes(self) -> AsyncIterator[dict[str, State]]:
        """The states of all phones, now and after each change; without a deadline. Ends by PhoneAway."""
        async with self._server.opened("host:track-devices") as channel:
            while True:
                yield _states(await channel.words())

    async def booted(self, address: str) -> bool:
        return (await self.shell(address, ["getprop", "sys.boot_completed"])).output.strip() == "1"

    async def shell(self, address: str, argv: Sequence[str], *, deadline: float | None = None) -> ShellAnswer:
        return await self._run(address, command_line(argv), deadline or self._deadline)

    async def screenshot(self, address: str) -> bytes:
        """A PNG. Refused as `no_screenshot` while there is nothing to be seen."""
        async with within(self._deadline, address), self._server.opened("exec:screencap -p", address) as channel:
            picture = await channel.to_the_end(_LARGEST_PICTURE)
        if not picture.startswith(_PNG):
            raise PhoneRefused("no_screenshot", f"The phone shows nothing: {picture[:200].decode('utf-8', 'replace')}")
        return picture

    async def prepare_input(self, address: str) -> None:
        """Makes the next `input` a quick one."""
        async with within(self._deadline, address):
            await self._typists.of(checked(address)).prepare()

    async def input(self, address: str, events: Sequence[InputEvent]) -> None:
        """In their order; returns when the phone has taken them. Refused as `input_refused` at the first that fails."""
        swiping = sum(event.duration_ms for event in events if isinstance(event, Swipe)) / 1000
        async with within(self._deadline + swiping, address):
            await self._typists.of(checked(address)).type(events)

    async def vitals(self, address: str) -> PhoneVitals:
        said = await self._run(address, LOOK, self._deadline)
        vitals, now = parse(said.output, self._cpu.get(address))
        if now is not None:
            if len(self._cpu) >= _MOST_REMEMBERED:
                self._cpu.clear()
            self._cpu[address] = now
        return vitals

    async def look(self, address: str, paths: Sequence[str]) -> list[sync.Entry]:
        """What is at each of them; a link is told as a link."""
        async with self._files(address) as channel, within(self._deadline, address):
            return await sync.look(channel, paths)

    async def list_files(self, address: str, folder: str) -> list[sync.Entry]:
        """By name, at most `sync.MOST_ENTRIES`; of a folder that is not there, none."""
        async with self._files(address) as channel, within(self._deadline, address):
            return await sync.names(channel, _absolute(folder))

    async def push(
        self,
        address: str,
        source: Path | AsyncIterable[bytes],
        remote: str,
        mode: int = 0o660,
        on_progress: Progress | None = None,
    ) -> int:
        """The bytes sent. Refused as `no_space` and `file_refused`; half a file never stays under its name."""
        sent = 0
        async with self._files(address) as channel:
            await sync.begin_push(channel, _absolute(remote), mode)
            async for part in _parts(source) if isinstance(source, Path) else source:
                async with within(self._deadline, address):
                    await sync.push_part(channel, part)
                sent += len(part)
                if on_progress is not None:
                    on_progress(sent)
            # The phone may have much to write yet.
            async with within(self._install_deadline, address):
                await sync.end_push(channel)
        return sent

    async def pull(self, address: str, remote: str) -> AsyncIterator[bytes]:
        """Part by part; refused before the first one when it cannot be read."""
        async with self._files(address) as channel:
            parts = sync.pull(channel, _absolute(remote))
            while True:
                async with within(self._deadline, address):
                    part = await anext(parts, None)
                if part is None:
                    return
                yield part

    async def install(self, address: str, remote_apk: str, *, reinstall: bool = True, downgrade: bool = False) -> None:
        """Refused with Android's own code, or INSTALL_FAILED."""
        options = ["-r"] * reinstall + ["-d"] * downgrade
        said = await self.shell(
            address, ["pm", "install", *options, _absolute(remote_apk)], deadline=self._install_deadline
        )
        check_done(said, "INSTALL_FAILED")

    async def uninstall(self, address: str, package: str) -> None:
        """One that is not there is uninstalled already. Refused with Android's own code, or UNINSTALL_FAILED."""
        said = await self.shell(address, ["pm", "uninstall", package_name(package)], deadline=self._install_deadline)
        try:
            check_done(said, "UNINSTALL_FAILED")
        except PhoneRefused:
            if await self.installed(address, package) is not None:
                raise

    async def installed(self, address: str, package: str) -> InstalledPackage | None:
        """Refused as `not_booted` while nobody can tell."""
        said = await self.shell(address, ["pm", "list", "packages", "--show-versioncode", package_name(package)])
        if said.code != 0:
            raise PhoneRefused("not_booted", f"The phone's package manager does not answer: {said.output[:200]}")
        return version_of(package, said.output)

    async def _run(self, address: str, line: str, deadline: float) -> ShellAnswer:
        async with within(deadline, address), self._server.opened(f"shell,v2,raw:{line}", address) as channel:
            return await answer(channel, _MOST_SAID)

    @asynccontextmanager
    async def _files(self, address: str) -> AsyncGenerator[Channel]:
        async with within(self._deadline, address):
            channel = await self._server.open("sync:", address)
        try:
            yield channel
        finally:
            channel.close()

    async def _settled(self, address: str) -> State | None:
        """A connection that has just been made counts as offline until both sides have greeted each other."""
        state = await self.state(address)
        for _ in range(10):
            if state != "offline":
                break
            await asyncio.sleep(0.05)
            state = await self.state(address)
        return state


def open_adb(server: str) -> Adb:
    """`server` is `host:port`."""
    host, _, port = server.rpartition(":")
    return Adb((host, int(port)))


def _states(listed: str) -> dict[str, State]:
    found: dict[str, State] = {}
    for line in listed.splitlines():
        address, _, state = line.partition("\t")
        # Others, such as `authorizing`, pass by; until then nobody can talk to it.
        found[address] = state if state in ("device", "unauthorized") else "offline"
    return found


def _absolute(path: str) -> str:
    """Raises ValueError for what a command or the phone could read as something else."""
    if not path.startswith("/") or "\0" in path or len(path.encode()) > 1024:
        raise ValueError(f"{path[:80]!r} is no path on a phone")
    return path


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, 8 * sync.PART):
            yield part
