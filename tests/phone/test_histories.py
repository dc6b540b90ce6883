"""Whatever is installed, removed, refused, restarted and crashed, in any order: the phone has what it should have."""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cloudphone_phone import Faults, Model, Phone
from tests.apks import apk
from tests.phone.host import Host, host

pytestmark = pytest.mark.anyio
PACKAGES = ("org.example.one", "org.example.two")
Apps = dict[str, tuple[int, str]]
"""By package: version and signer."""

INSTALLS = some.tuples(
    some.just("install"), some.sampled_from(PACKAGES), some.integers(1, 3), some.sampled_from(["Ana", "Ben"])
)
REMOVALS = some.tuples(some.just("uninstall"), some.sampled_from(PACKAGES))
EVENTS = some.tuples(
    some.sampled_from(["restart", "crash", "reboot", "crash while installing", "full disk", "hang up while installing"])
)
HISTORIES = some.lists(some.one_of(INSTALLS, REMOVALS, EVENTS), max_size=12)


@settings(max_examples=40, deadline=None)
@given(history=HISTORIES)
async def test_any_history(history: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        phone = Phone(Path(folder), model=Model(boot_seconds=0.0))
        await phone.start()
        await phone.until("running")
        try:
            expected: Apps = {}
            for what, *about in history:
                await STEPS[what](phone, expected, *about)
                assert await apps(phone) == {package: version for package, (version, _) in expected.items()}
            await agrees_with_its_volume(phone, expected)
        finally:
            await phone.stop()


async def apps(phone: Phone) -> dict[str, int]:
    async with host(phone.address) as shell:
        listed = (await shell.run("pm list packages -3 --show-versioncode")).split("\n")
    pairs = (line.removeprefix("package:").split(" versionCode:") for line in listed if line)
    return {package: int(version) for package, version in pairs}


async def agrees_with_its_volume(phone: Phone, expected: Apps) -> None:
    """No byte more than what is installed takes."""
    await restart(phone, expected)
    real = phone.android.files.real("/data/app")
    assert len(list(real.iterdir())) == len(expected)
    assert not list((real.parent.parent.parent / "staging").iterdir())


async def install(phone: Phone, expected: Apps, package: str, version: int, by: str) -> None:
    present = expected.get(package)
    async with host(phone.address) as shell:
        said = await shell.install(apk(package, version, by=by), "-r")
    if present and present[1] != by:
        assert said == "INSTALL_FAILED_UPDATE_INCOMPATIBLE"
    elif present and present[0] > version:
        assert said == "INSTALL_FAILED_VERSION_DOWNGRADE"
    else:
        assert said == "Success"
        expected[package] = (version, by)


async def uninstall(phone: Phone, expected: Apps, package: str) -> None:
    async with host(phone.address) as shell:
        said = await shell.run(f"pm uninstall {package}")
    assert said.startswith("Success") == (expected.pop(package, None) is not None)


async def restart(phone: Phone, expected: Apps) -> None:
    await phone.stop()
    await begin(phone)


async def crash(phone: Phone, expected: Apps) -> None:
    phone.crash()
    await begin(phone)


async def reboot(phone: Phone, expected: Apps) -> None:
    await phone.reboot()
    await phone.until("running")


async def crash_while_installing(phone: Phone, expected: Apps) -> None:
    await phone.inflict(Faults(crash_on_install=True))
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        async with host(phone.address) as shell:
            await shell.install(apk("org.example.three"))
    assert await phone.until("crashed")
    await phone.inflict(Faults())
    await begin(phone)


async def full_disk(phone: Phone, expected: Apps) -> None:
    await phone.inflict(Faults(disk_full=True))
    async with host(phone.address) as shell:
        assert await shell.install(apk("org.example.three")) == "INSTALL_FAILED_INSUFFICIENT_STORAGE"
    await phone.inflict(Faults())


async def hang_up_while_installing(phone: Phone, expected: Apps) -> None:
    """In the middle of what was to be sent."""

    async def half(shell: Host) -> None:
        whole = apk("org.example.three")
        await shell.run(f"cmd package install -S {len(whole)}", whole[:1000])

    async with host(phone.address) as shell:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(half(shell), 0.05)


async def begin(phone: Phone) -> None:
    await phone.start()
    await phone.until("running")


STEPS: dict[str, Callable[..., Awaitable[None]]] = {
    "install": install,
    "uninstall": uninstall,
    "restart": restart,
    "crash": crash,
    "reboot": reboot,
    "crash while installing": crash_while_installing,
    "full disk": full_disk,
    "hang up while installing": hang_up_while_installing,
}
