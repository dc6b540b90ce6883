"""How a phone is doing, read from one command's output."""

import re

import msgspec

CPU_MARK, DISK_MARK, FRONT_MARK = "-- memory", "-- disk", "-- front"
LOOK = (
    "cat /proc/stat; echo '-- memory'; cat /proc/meminfo; echo '-- disk'; df -k /data; "
    "echo '-- front'; dumpsys activity activities | grep -E 'mResumedActivity|topResumedActivity'"
)
_FRONT = re.compile(r"ResumedActivity\S*[ =].*? ([A-Za-z][\w.]*)/")


class CpuTime(msgspec.Struct, frozen=True):
    """Of all cores since boot, in the kernel's ticks."""

    busy: int
    total: int


class PhoneVitals(msgspec.Struct, frozen=True, kw_only=True):
    """CPU from 0 to 1 of all cores since the look before, since boot at the first; sizes in bytes. None: not told."""

    cpu_load: float | None
    memory_used: int | None
    memory_total: int | None
    storage_used: int | None
    storage_total: int | None
    foreground: str | None


def parse(said: str, before: CpuTime | None) -> tuple[PhoneVitals, CpuTime | None]:
    """Whatever is not there, or is no number, is None."""
    cpu, _, rest = said.partition(CPU_MARK)
    memory, _, rest = rest.partition(DISK_MARK)
    disk, _, front = rest.partition(FRONT_MARK)
    now = _cpu_time(cpu)
    memory_total, available = _kib(memory, "MemTotal"), _kib(memory, "MemAvailable")
    storage = _storage(disk)
    found = _FRONT.search(front)
    vitals = PhoneVitals(
        cpu_load=_load(before, now),
        memory_used=max(0, memory_total - available) if memory_total is not None and available is not None else None,
        memory_total=memory_total,
        storage_used=storage[1] if storage else None,
        storage_total=storage[0] if storage else None,
        foreground=found[1][:255] if found else None,
    )
    return vitals, now


def _cpu_time(text: str) -> CpuTime | None:
    found = re.search(r"^cpu +(\d{1,18}(?: \d{1,18}){3,9})\s*$", text, re.MULTILINE)
    if not found:
        return None
    # user nice system idle iowait irq softirq steal; guests are counted in user already.
    ticks = [int(value) for value in found[1].split()][:8]
    return CpuTime(sum(ticks) - sum(ticks[3:5]), sum(ticks))


def _load(before: CpuTime | None, now: CpuTime | None) -> float | None:
    if now is None:
        return None
    # A phone that has booted meanwhile counts from 0 again.
    base = before if before is not None and before.total < now.total and before.busy <= now.busy else CpuTime(0, 0)
    return round(min(1.0, (now.busy - base.busy) / max(1, now.total - base.total)), 4)


def _kib(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}: +(\d{{1,15}}) kB", text, re.MULTILINE)
    return int(found[1]) << 10 if found else None


def _storage(text: str) -> tuple[int, int] | None:
    """In all, and used."""
    found = re.search(r"^\S+ +(\d{1,15}) +(\d{1,15}) +\d{1,15} +\d+% ", text, re.MULTILINE)
    return (int(found[1]) << 10, int(found[2]) << 10) if found else None
