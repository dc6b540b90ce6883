"""One phone: a volume, a port, and an Android between them that is on or off."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import structlog

from .adbd.connection import Service
from .adbd.daemon import Daemon
from .adbd.services import find_service
from .adbd.wire import banner
from .android.system import Android
from .faults import NO_FAULTS, Faults
from .model import Model
from .volume import Volume

log = structlog.get_logger()

State = Literal["off", "booting", "running", "crashed"]


class Phone:
    """`port` 0: any free one, kept as long as this object lives. Everything runs in the event loop of the caller.

    On: it listens, and costs nothing but memory while nobody talks to it. Off: its volume may be copied.
    """

    def __init__(
        self,
        volume: Path,
        *,
        model: Model | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults = NO_FAULTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model = model or Model()
        self.state: State = "off"
        self._volume, self._clock, self._faults = Volume(volume), clock, faults
        self._daemon = Daemon(self, host, port)
        self._android: Android | None = None
        self._booting: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def address(self) -> tuple[str, int]:
        """Where adbd listens; the port is known once it was on."""
        return self._daemon.host, self._daemon.port

    @property
    def android(self) -> Android:
        """What is inside, for tests and tools. Only while it is on."""
        assert self._android is not None
        return self._android

    @property
    def faults(self) -> Faults:
        return self._faults

    async def start(self) -> None:
        """Power on: returns as soon as it listens. Raises VolumeUnusable, and OSError for a port that is taken."""
        if self.state in ("booting", "running"):
            return
        await self._ended()
        await asyncio.to_thread(self._volume.open)
        try:
            self._android = await asyncio.to_thread(self._assembled)
            self._obey()
            await self._daemon.start()
        except BaseException:
            self._android = None
            self._volume.close()
            raise
        self._boot()

    async def stop(self) -> None:
        """Power off: connections end, what was being installed is finished or was never there."""
        self._end("off")
        await self._ended()

    async def reboot(self) -> None:
        """Connections end, and it boots again; what was not persistent is gone."""
        self._restart()

    def crash(self) -> None:
        """Ends at once, as if somebody had killed it; `start` brings it back from what its volume holds."""
        self._end("crashed")

    async def inflict(self, faults: Faults) -> None:
        """From now on these, and no others: `Faults()` heals it."""
        before, self._faults = self._faults, faults
        self._obey()
        if faults.offline and not before.offline:
            self._daemon.drop()
        if before.unauthorized and not faults.unauthorized:
            await self._daemon.admit()
        elif faults.unauthorized and not before.unauthorized:
            self._daemon.drop()

    async def until(self, *states: State) -> State:
        """Waits for one of these."""
        while self.state not in states:
            await self._changed.wait()
        return self.state

    # What adbd asks of the phone that it runs on.

    @property
    def greeting(self) -> bytes:
        return banner(f"cloudphone_{self.model.device}", self.model.name, self.model.device)

    @property
    def authorized(self) -> bool:
        return not self._faults.unauthorized

    @property
    def silent(self) -> bool:
        return self._faults.offline

    def service(self, name: str) -> Service | None:
        return find_service(self._android, name) if self._android else None

    def _assembled(self) -> Android:
        return Android(
            self._volume,
            self.model,
            restart=self._restart,
            crash=self.crash,
            power_off=self._power_off,
            clock=self._clock,
        )

    def _boot(self) -> None:
        self.android.begin()
        self._is("booting")
        if self._booting is not None:
            self._booting.cancel()
        slow = self._faults.boot_seconds
        seconds = self.model.boot_seconds if slow is None else slow
        if seconds != float("inf"):
            self._booting = asyncio.get_running_loop().call_later(seconds, self._booted)

    def _booted(self) -> None:
        self._booting = None
        self.android.complete()
        self._is("running")

    def _restart(self) -> None:
        if self._android is not None and self.state in ("booting", "running"):
            self._boot()
            # Not in the middle of what the connection that asked for it is doing.
            asyncio.get_running_loop().call_soon(self._daemon.drop)

    def _power_off(self) -> None:
        self._end("off")

    def _end(self, how: State) -> None:
        if self.state not in ("booting", "running"):
            if how == "off" and self.state == "crashed":
                self._is("off")
            return
        if self._booting is not None:
            self._booting.cancel()
            self._booting = None
        self._is(how)
        self._ending = asyncio.create_task(self._wind_up())

    async def _wind_up(self) -> None:
        await self._daemon.stop()
        if self._android is not None:
            await self._android.packages.settle()
            self._android = None
        await self._volume.settle()
        self._volume.close()

    async def _ended(self) -> None:
        if self._ending is not None:
            await self._ending
            self._ending = None

    def _obey(self) -> None:
        if self._android is not None:
            self._android.faults = self._faults
            self._android.files.full = self._faults.disk_full

    def _is(self, state: State) -> None:
        self.state = state
        log.debug("phone_changed", serial=self.model.serial, state=state)
        self._changed.set()
        self._changed = asyncio.Event()
