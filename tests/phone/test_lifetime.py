"""Power on, reboot, crash: what a phone remembers, and what goes wrong with it on demand."""

import asyncio
import shutil
from pathlib import Path

import pytest

from cloudphone_phone import Faults, Model, Phone, VolumeUnusable
from tests.apks import TINY, apk
from tests.conditions import eventually
from tests.phone.adb import Adb, Connected
from tests.phone.host import host

pytestmark = pytest.mark.anyio
AT_ONCE = Model(boot_seconds=0.0)


async def test_what_was_installed_and_stored_survives_power_off(tmp_path: Path) -> None:
    phone = Phone(tmp_path / "volume", model=AT_ONCE)
    await phone.start()
    await phone.until("running")
    async with host(phone.address) as shell:
        await shell.install(apk(version=5))
        await shell.run(
            "echo kept > /sdcard/kept; setprop persist.mine kept; setprop mine gone; settings put global a b"
        )
    await phone.stop()
    again = Phone(tmp_path / "volume", model=AT_ONCE)
    await again.start()
    await again.until("running")
    async with host(again.address) as shell:
        assert "versionCode:5" in await shell.run("pm list packages --show-versioncode | grep game")
        assert await shell.run("cat /sdcard/kept; getprop persist.mine; settings get global a") == "kept\nkept\nb\n"
        assert await shell.run("getprop mine") == "\n"
    await again.stop()


async def test_bytes_that_are_no_text_spoil_nothing(phone: Phone) -> None:
    async with host(phone.address) as shell:
        for line in ("settings put global a \udcff", "setprop persist.a \udcff", "input text \udcff", "log \udcff"):
            await shell.call(f"exec:{line}")
        await shell.run("settings put global kept yes")
        picture = await shell.call("exec:screencap -p")
        assert picture
        assert picture.startswith(b"\x89PNG")
    await phone.stop()
    await phone.start()
    await phone.until("running")
    async with host(phone.address) as shell:
        assert await shell.run("settings get global kept") == "yes\n"


async def test_what_is_counted_is_what_is_there(phone: Phone) -> None:
    """After all that changes it, and so after the next start too."""
    async with host(phone.address) as shell:
        for version in (1, 2, 3):
            await shell.install(apk(version=version))
        await shell.install(apk(by=None))
        for line in (
            "mkdir -p /sdcard/a/b; echo one > /sdcard/a/b/c; echo two >> /sdcard/a/b/c; cp /sdcard/a/b/c /sdcard/d",
            "mv /sdcard/d /sdcard/a/b/c; touch /sdcard/e; rm /sdcard/e; screencap -p /sdcard/f.png; rm -r /sdcard/a",
            "pm clear org.example.game; logcat -d > /sdcard/log; screencap /sdcard/f.png",
            "mkdir /sdcard/g; rmdir /sdcard/g",
        ):
            assert "rm:" not in await shell.run(line)
    counted = phone.android.files.used
    await phone.stop()
    await phone.start()
    await phone.until("running")
    assert phone.android.files.used == counted


async def test_a_new_volume_knows_nothing_of_another(tmp_path: Path) -> None:
    first = Phone(tmp_path / "first", model=AT_ONCE)
    await first.start()
    await first.until("running")
    async with host(first.address) as shell:
        await shell.install(apk())
        await shell.run("echo secret > /sdcard/secret")
    await first.stop()
    second = Phone(tmp_path / "second", model=AT_ONCE)
    await second.start()
    await second.until("running")
    async with host(second.address) as shell:
        assert await shell.run("pm list packages -3") == ""
        assert "No such file" in await shell.run("cat /sdcard/secret")
    await second.stop()
    assert not [path for path in (tmp_path / "second").rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


async def test_a_copy_of_the_volume_is_the_phone_as_it_was(phone: Phone, tmp_path: Path) -> None:
    async with host(phone.address) as shell:
        await shell.install(apk(version=1))
    await phone.stop()
    shutil.copytree(tmp_path / "volume", tmp_path / "copy")
    await phone.start()
    await phone.until("running")
    async with host(phone.address) as shell:
        await shell.install(apk(version=2))
    await phone.stop()
    restored = Phone(tmp_path / "copy", model=AT_ONCE)
    await restored.start()
    await restored.until("running")
    async with host(restored.address) as shell:
        assert "versionCode:1" in await shell.run("pm list packages --show-versioncode -3")
    await restored.stop()


async def test_two_phones_do_not_share_a_volume(phone: Phone, tmp_path: Path) -> None:
    with pytest.raises(VolumeUnusable, match="Another phone"):
        await Phone(tmp_path / "volume").start()


async def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "contents.json").write_text("{")
    with pytest.raises(VolumeUnusable, match="not a phone's"):
        await Phone(tmp_path).start()


async def test_a_phone_that_boots_says_so(tmp_path: Path) -> None:
    phone = Phone(tmp_path / "volume", faults=Faults(boot_seconds=float("inf")))
    await phone.start()
    async with host(phone.address) as shell:
        assert await shell.run("getprop sys.boot_completed") == "\n"
        assert "Can't find service: package" in await shell.run("pm list packages")
    assert phone.state == "booting"
    await phone.inflict(Faults(boot_seconds=0.0))
    await phone.reboot()
    await phone.until("running")
    async with host(phone.address) as shell:
        assert await shell.run("getprop sys.boot_completed") == "1\n"
    await phone.stop()


async def test_adb_finds_a_rebooted_phone_again(connected: Connected, phone: Phone) -> None:
    await connected("install", str(TINY))
    await connected.shell("monkey -p org.cloudphone.tiny 1")
    await connected("reboot")
    await connected.connect()
    await phone.until("running")
    assert "com.android.launcher3" in await connected.shell("dumpsys window | grep mCurrentFocus")
    assert "org.cloudphone.tiny" in await connected.shell("pm list packages")


async def test_a_crash_ends_it_and_the_same_port_brings_it_back(connected: Connected, phone: Phone) -> None:
    await connected("install", str(TINY))
    address = phone.address
    phone.crash()
    assert phone.state == "crashed"
    await eventually(lambda: refused(address))
    await phone.start()
    assert phone.address == address
    await phone.until("running")
    await connected.connect()
    assert "org.cloudphone.tiny" in await connected.shell("pm list packages")


async def test_a_crash_while_installing_leaves_the_app_out(phone: Phone) -> None:
    before = phone.android.files.used
    await phone.inflict(Faults(crash_on_install=True))
    async with host(phone.address) as shell:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await shell.install(apk())
    assert await phone.until("crashed") == "crashed"
    await phone.inflict(Faults())
    await phone.start()
    await phone.until("running")
    async with host(phone.address) as shell:
        assert await shell.run("pm list packages -3") == ""
        assert phone.android.files.used == before
        assert await shell.install(apk()) == "Success"


async def test_what_a_kill_left_behind_is_cleared_away(phone: Phone, tmp_path: Path) -> None:
    """Between moving an APK to its place and remembering it, and in the middle of a push."""
    used = phone.android.files.used
    await phone.stop()
    stray = tmp_path / "volume/files/data/app/org.example.game-stray"
    stray.mkdir()
    (stray / "base.apk").write_bytes(apk())
    (tmp_path / "volume/staging/17").write_bytes(b"half")
    (tmp_path / "volume/contents.new").write_bytes(b"{")
    await phone.start()
    assert not stray.exists()
    assert phone.android.files.used == used


async def test_an_unauthorized_phone_waits_for_somebody_to_allow_it(adb: Adb, phone: Phone) -> None:
    await phone.inflict(Faults(unauthorized=True))
    connected = Connected(adb, *phone.address)
    await adb("connect", connected.serial)
    await eventually(lambda: is_in(connected, "unauthorized"), within=60)
    await phone.inflict(Faults())
    await eventually(lambda: is_in(connected, "device"), within=60)
    await connected.disconnect()


async def test_an_offline_phone_takes_connections_and_says_nothing(adb: Adb, phone: Phone) -> None:
    await phone.inflict(Faults(offline=True))
    async with host(phone.address, greet=False) as connection:
        greeting = asyncio.create_task(connection.greet())
        assert (await asyncio.wait({greeting}, timeout=0.5))[0] == set()
        greeting.cancel()
    await phone.inflict(Faults())
    async with host(phone.address) as connection:
        assert await connection.run("echo back") == "back\n"


async def test_power_off_from_inside(phone: Phone) -> None:
    async with host(phone.address) as shell:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            while True:
                await shell.run("reboot -p")
    assert await phone.until("off") == "off"


async def test_hundreds_of_phones_in_one_process(tmp_path: Path) -> None:
    """Each on a port of its own; idle ones have nothing to do."""
    phones = [
        Phone(tmp_path / str(number), model=Model(boot_seconds=0.0, serial=f"P{number}")) for number in range(100)
    ]
    for phone in phones:
        await phone.start()
    for phone in phones:
        await phone.until("running")
    assert len({phone.address for phone in phones}) == 100
    for number in (0, 50, 99):
        async with host(phones[number].address) as shell:
            assert await shell.run("getprop ro.serialno") == f"P{number}\n"
    for phone in phones:
        await phone.stop()


async def refused(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def is_in(connected: Connected, state: str) -> bool:
    return await connected.state() == state
