"""The Android system of one phone, from power on to power off."""

import time
from collections.abc import Callable

from cloudphone_phone.faults import NO_FAULTS, Faults
from cloudphone_phone.model import Model
from cloudphone_phone.volume import Volume

from .activities import Activities
from .files import Files
from .log import Log
from .packages import Packages
from .properties import Properties
from .screen import Screen
from .vitals import Vitals


class Android:
    """`power_off` and `restart` are what its shell may ask of the phone around it."""

    def __init__(
        self,
        volume: Volume,
        model: Model,
        *,
        restart: Callable[[], None],
        crash: Callable[[], None],
        power_off: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model, self.volume, self.clock = model, volume, clock
        self.restart, self.power_off = restart, power_off
        self.faults: Faults = NO_FAULTS
        self.booted = False
        self.log = Log(clock)
        self.properties = Properties(model, volume.contents.properties)
        self.files = Files(volume.files, volume.staging, model.storage_bytes)
        self.activities = Activities(clock)
        self.vitals = Vitals(model, self.activities, self.files, clock)
        self.packages = Packages(
            volume, self.files, model, lambda: self.faults, clock=clock, crash=crash, changed=self._changed
        )
        self.screen = Screen(model, self.activities, self.packages, clock, self._started)
        self.files.made_up |= {
            "/proc/cpuinfo": self.vitals.cpuinfo,
            "/proc/loadavg": self.vitals.loadavg,
            "/proc/meminfo": self.vitals.meminfo,
            "/proc/stat": self.vitals.stat,
            "/proc/uptime": self.vitals.uptime_text,
            "/proc/version": lambda: b"Linux version 5.15.0-cloudphone\n",
            "/system/build.prop": self._build_properties,
        }

    def begin(self) -> None:
        """Power is on; `complete` follows when it has booted."""
        self.booted = False
        self.properties.restart()
        self.activities.restart()
        self.screen.restart()
        self.vitals.restart()
        self.log.clear()
        self.log.write("boot", "Linux version 5.15.0-cloudphone", pid=1)

    def complete(self) -> None:
        self.booted = True
        self.properties.completed()
        self.log.write("ActivityManager", "Finished processing BOOT_COMPLETED for u0")

    def used(self) -> None:
        """Somebody touches it."""
        self.vitals.touched()

    def _changed(self, package: str, how: str) -> None:
        if how != "installed":
            self.activities.stop(package)
        self.log.write("PackageManager", f"Package {package} {how}")

    def _started(self, text: str) -> None:
        self.log.write("ActivityTaskManager", text)

    def _build_properties(self) -> bytes:
        fixed = {name: value for name, value in self.properties.all().items() if name.startswith("ro.")}
        return "".join(f"{name}={value}\n" for name, value in fixed.items()).encode()
