"""Docker Engine and the kernel under it: whether they can carry Android."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from cloudphone_core.device.providers.docker import DockerProvider, Engine
from cloudphone_core.device.providers.port import ProviderAway

from .finding import Finding, broken, doubtful, well

RUNBOOK = "see docs/docker.md"
_LIMITS = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "pids"}


async def engine(asked: Engine) -> AsyncGenerator[Finding]:
    provider = DockerProvider(asked)
    try:
        told = await provider.about()
    except ProviderAway as away:
        yield broken("Docker Engine", away.reason, f"start it, or set CLOUDPHONE_DOCKER_URL; {RUNBOOK}")
        return
    finally:
        await provider.close()
    yield well("Docker Engine", f"{told['ServerVersion']} at {asked.url}, storage {told['Driver']}")
    yield limits(told)
    yield binder(asked.privileged)


def limits(told: dict[str, Any]) -> Finding:
    absent = [name for field, name in _LIMITS.items() if not told.get(field)]
    if absent:
        lost = f"it cannot limit {', '.join(absent)}"
        return broken("limits", lost, "enable those cgroup controllers: phones would take from each other")
    return well("limits", f"{', '.join(_LIMITS.values())} (cgroup v{told.get('CgroupVersion', '1')})")


def binder(privileged: bool, filesystems: Path = Path("/proc/filesystems"), devices: Path = Path("/dev")) -> Finding:
    """Android's processes talk through the kernel's binder; without it no real Android boots."""
    listed = filesystems.read_text() if filesystems.exists() else ""
    has = "binder" in listed or any(devices.glob("binder*")) or (devices / "binderfs").exists()
    if not has:
        lost = "the kernel has no binder: images of real Android do not boot here"
        return doubtful("binder", lost, f"load binder_linux (devices=binder,hwbinder,vndbinder); {RUNBOOK}")
    if not privileged:
        lost = "the kernel has it, but containers are not privileged"
        return doubtful("binder", lost, f"set CLOUDPHONE_DOCKER_PRIVILEGED=true for redroid; {RUNBOOK}")
    return well("binder", "the kernel has it")
