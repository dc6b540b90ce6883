"""How the phone is doing: processor, memory, battery, storage. Made up, but of what really happens on it."""

from collections.abc import Callable

from cloudphone_phone.model import Model

from .activities import Activities
from .files import Files

_SYSTEM_MEMORY, _APP_MEMORY, _FRONT_MEMORY = 900 << 20, 90 << 20, 60 << 20
_IDLE, _APP_LOAD, _FRONT_LOAD, _TOUCHED = 0.02, 0.01, 0.06, 0.25
_TOUCHED_SECONDS = 5.0
_HZ = 100


class Vitals:
    def __init__(self, model: Model, activities: Activities, files: Files, clock: Callable[[], float]) -> None:
        self._model, self._activities, self._files, self._clock = model, activities, files, clock
        self.restart()

    def restart(self) -> None:
        self.booted_at = self._counted_at = self._clock()
        self._touched_at = float("-inf")
        self._busy = 0.0

    def touched(self) -> None:
        """Somebody uses the phone: it works harder for a while."""
        self._count()
        self._touched_at = self._clock()

    @property
    def uptime(self) -> float:
        """Seconds."""
        return max(0.0, self._clock() - self.booted_at)

    @property
    def load(self) -> float:
        """Of all processors together, 0 to 1."""
        apps = len(self._activities.running) - 1
        load = _IDLE + _APP_LOAD * apps + (_FRONT_LOAD if apps else 0)
        return min(1.0, load + (_TOUCHED if self._clock() - self._touched_at < _TOUCHED_SECONDS else 0))

    @property
    def memory_used(self) -> int:
        """Bytes."""
        apps = len(self._activities.running) - 1
        return min(self._model.memory_bytes, _SYSTEM_MEMORY + apps * _APP_MEMORY + bool(apps) * _FRONT_MEMORY)

    def meminfo(self) -> bytes:
        total, used = self._model.memory_bytes, self.memory_used
        lines = {"MemTotal": total, "MemFree": (total - used) // 2, "MemAvailable": total - used}
        return "".join(f"{f'{name}:':<16}{size >> 10:>8} kB\n" for name, size in lines.items()).encode()

    def stat(self) -> bytes:
        """Of /proc/stat: hundredths of seconds, busy ones as `user`."""
        self._count()
        cores, busy = self._model.cores, int(self._busy * _HZ)
        idle = max(0, int(self.uptime * cores * _HZ) - busy)
        each = "".join(f"cpu{core} {busy // cores} 0 0 {idle // cores} 0 0 0 0 0 0\n" for core in range(cores))
        return f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n{each}btime {int(self.booted_at)}\n".encode()

    def uptime_text(self) -> bytes:
        return f"{self.uptime:.2f} {self.uptime * self._model.cores * (1 - self.load):.2f}\n".encode()

    def loadavg(self) -> bytes:
        load = self.load * self._model.cores
        return f"{load:.2f} {load:.2f} {load:.2f} 1/{200 + len(self._activities.running)} 4000\n".encode()

    def cpuinfo(self) -> bytes:
        return "".join(
            f"processor\t: {core}\nmodel name\t: Cloudphone virtual CPU\n\n" for core in range(self._model.cores)
        ).encode()

    def _count(self) -> None:
        """Adds up the busy time since it was last asked for, at the load of now."""
        now = self._clock()
        self._busy += max(0.0, now - self._counted_at) * self.load * self._model.cores
        self._counted_at = now
