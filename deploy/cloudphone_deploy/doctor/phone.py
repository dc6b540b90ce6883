"""The self-check: one phone from its making to its end, as a device goes through it, by the chosen provider."""

import time
from collections.abc import AsyncGenerator, Awaitable
from uuid import uuid4

import anyio

from cloudphone_core.device.adb import Adb, PhoneAway, PhoneRefused
from cloudphone_core.device.providers.port import (
    DEPLOYMENT,
    Container,
    ContainerPlan,
    Provider,
    ProviderAway,
    ProviderRefused,
)

from .finding import Finding, broken, well

_PNG = b"\x89PNG"


async def phone(provider: Provider, adb: Adb, deployment: str, boot_seconds: float) -> AsyncGenerator[Finding]:
    """Ends at the first thing that fails. Nothing of it is left behind."""
    trial = _Trial(provider, adb, _plan(f"{deployment}-doctor"), boot_seconds)
    steps = (
        ("container", trial.make),
        ("boot", trial.boot),
        ("shell", trial.shell),
        ("screenshot", trial.screenshot),
        ("files", trial.files),
        ("stop", trial.stop),
        ("volume copy", trial.copy),
    )
    try:
        for name, step in steps:
            began = time.monotonic()
            try:
                detail = await step()
            except (ProviderAway, ProviderRefused, PhoneAway, PhoneRefused, TimeoutError) as error:
                said = str(error) or f"not within {boot_seconds:.0f} s"
                yield broken(f"phone: {name}", said, "see the engine's and the container's log")
                return
            yield well(f"phone: {name}", f"{detail} ({time.monotonic() - began:.1f} s)")
    finally:
        with anyio.CancelScope(shield=True):
            await trial.clear()


class _Trial:
    def __init__(self, provider: Provider, adb: Adb, plan: ContainerPlan, boot_seconds: float) -> None:
        self._provider, self._adb, self._plan, self._boot_seconds = provider, adb, plan, boot_seconds
        self._container: Container | None = None
        self._address = ""

    async def make(self) -> str:
        self._container = await self._provider.create(self._plan)
        self._container = await self._provider.start(self._container.id)
        if self._container.address is None:
            raise ProviderRefused("unusable", "It is on and has no address for adb")
        self._address = "{}:{}".format(*self._container.address)
        return f"{self._container.name} at {self._address}"

    async def boot(self) -> str:
        with anyio.fail_after(self._boot_seconds):
            while True:
                if await self._booted():
                    return "sys.boot_completed=1"
                await anyio.sleep(0.5)

    async def shell(self) -> str:
        model = (await self._adb.shell(self._address, ["getprop", "ro.product.model"])).output.strip()
        release = (await self._adb.shell(self._address, ["getprop", "ro.build.version.release"])).output.strip()
        return f"{_text(model)}, Android {_text(release)}"

    async def screenshot(self) -> str:
        picture = await self._adb.screenshot(self._address)
        if not picture.startswith(_PNG):
            raise PhoneRefused("no-picture", "What it shows is no PNG")
        return f"{len(picture):,} bytes"

    async def files(self) -> str:
        await self._adb.shell(self._address, ["touch", "/sdcard/doctor"])
        there = await self._adb.list_files(self._address, "/sdcard")
        if not any(entry.name == "doctor" for entry in there):
            raise PhoneRefused("no-file", "What was written to /sdcard is not there")
        return "/sdcard can be written"

    async def stop(self) -> str:
        assert self._container
        await self._adb.disconnect(self._address)
        return (await self._provider.stop(self._container.id)).state

    async def copy(self) -> str:
        copied = await self._provider.copy_volume(self._plan.volume, self._copy, self._plan.labels)
        return f"{copied.size:,} bytes, sha256 {copied.sha256[:12]}…"

    async def clear(self) -> None:
        if self._address:
            await _quietly(self._adb.disconnect(self._address))
        if self._container is not None:
            await _quietly(self._provider.remove(self._container.id))
        for volume in (self._plan.volume, self._copy):
            await _quietly(self._provider.remove_volume(volume))

    @property
    def _copy(self) -> str:
        return f"{self._plan.volume}-copy"

    async def _booted(self) -> bool:
        try:
            await self._adb.connect(self._address)
            return await self._adb.booted(self._address)
        except PhoneAway:
            return False


async def _quietly(work: Awaitable[object]) -> None:
    try:
        await work
    except (ProviderAway, ProviderRefused, PhoneAway, PhoneRefused):
        return


def _plan(deployment: str) -> ContainerPlan:
    device = uuid4()
    return ContainerPlan(
        device_id=device,
        name=f"doctor-{device}",
        volume=f"doctor-{device}",
        labels={DEPLOYMENT: deployment},
        image=None,
        android_version="13",
        abis=("x86_64",),
        cpu_cores=2,
        memory_mib=2048,
        storage_gib=4,
        width=720,
        height=1280,
        dpi=320,
    )


def _text(said: str | bytes) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
