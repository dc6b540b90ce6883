"""What the device service does with phones through a real adb server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudphone_core.device.adb import Adb, AdbServerAway, PhoneAway, PhoneRefused
from cloudphone_core.device.adb.typing import commands, lines
from cloudphone_phone import Faults
from cloudphone_shared.contracts.phone import KeyPress, Swipe, Tap, TypedText
from tests.apks import apk
from tests.conditions import eventually
from tests.core.device.phones import Phones
from tests.servers import free_port

pytestmark = pytest.mark.anyio
NASTY = "a b'c\"d $(reboot) `reboot` ; reboot & | > x * ? ~ \\ \n é 手 -n %s"


async def test_a_phone_is_used_from_its_shell_to_its_apps(phones: Phones, tmp_path: Path) -> None:
    adb = phones.adb
    _, address = await phones.start()
    assert await adb.state(address) == "device"
    assert (await adb.shell(address, ["getprop", "ro.product.cpu.abilist"])).output.strip() == "x86_64,arm64-v8a"
    assert (await adb.shell(address, ["false"])).code == 1
    assert (await adb.screenshot(address)).startswith(b"\x89PNG")
    package = tmp_path / "some.apk"
    package.write_bytes(apk())
    sent: list[int] = []
    await adb.push(address, package, "/data/local/tmp/some.apk", on_progress=sent.append)
    assert sent[-1] == package.stat().st_size
    listed = (await adb.shell(address, ["pm", "list", "packages", "-3"])).output
    await adb.install(address, "/data/local/tmp/some.apk")
    [name] = set((await adb.shell(address, ["pm", "list", "packages", "-3"])).output.split()) - set(listed.split())
    name = name.removeprefix("package:")
    installed = await adb.installed(address, name)
    assert installed is not None and installed.version_code > 0
    assert await adb.installed(address, name[:-1]) is None
    for _ in range(2):
        await adb.uninstall(address, name)
    assert await adb.installed(address, name) is None
    with pytest.raises(PhoneRefused) as refused:
        await adb.install(address, "/data/local/tmp/none.apk")
    assert refused.value.code == "INSTALL_FAILED_INVALID_URI"


async def test_no_word_reaches_the_shell_as_anything_but_itself(phones: Phones) -> None:
    _, address = await phones.start()
    assert (await phones.adb.shell(address, ["echo", NASTY])).output == f"{NASTY}\n"
    with pytest.raises(ValueError, match="NUL"):
        await phones.adb.shell(address, ["echo", "a\0b"])
    for wrong in ("host:1\nkill", "127.0.0.1:1;x", "-a:1", "127.0.0.1"):
        with pytest.raises(ValueError, match="address"):
            await phones.adb.shell(wrong, ["true"])


async def test_files_go_there_and_back(phones: Phones) -> None:
    async def content() -> AsyncIterator[bytes]:
        for part in range(8):
            yield bytes([part]) * 100_000

    _, address = await phones.start()
    assert await phones.adb.push(address, content(), "/sdcard/a folder/it's") == 800_000
    assert [entry.name for entry in await phones.adb.list_files(address, "/sdcard/a folder")] == ["it's"]
    [found, missing] = await phones.adb.look(address, ["/sdcard/a folder/it's", "/sdcard/none"])
    assert (found.file, found.size, missing.there) == (True, 800_000, False)
    pulled = b"".join([part async for part in phones.adb.pull(address, "/sdcard/a folder/it's")])
    assert pulled == b"".join([part async for part in content()])
    with pytest.raises(PhoneRefused):
        await anext(phones.adb.pull(address, "/sdcard/none"))
    await phones.farm.inflict((await phones.farm.find({}))[0].name, Faults(disk_full=True))
    with pytest.raises(PhoneRefused) as refused:
        await phones.adb.push(address, content(), "/sdcard/more")
    assert refused.value.code == "no_space"


async def test_what_is_typed_arrives_as_it_was_typed(phones: Phones) -> None:
    container, address = await phones.start()
    typed = "$(reboot); `x` 'y' \"z\" %s %% 100%s & | \\ <é手>"
    for _ in range(2):
        await phones.adb.input(address, [Swipe(x1=1, y1=2, x2=3, y2=4), TypedText(text=typed)])
    assert phones.typed(container) == 2 * typed
    await phones.adb.input(address, [KeyPress(key="delete"), Tap(x=10, y=20)])
    assert phones.typed(container) == (2 * typed)[:-1]
    await phones.adb.shell(address, ["reboot"])
    await eventually(lambda: phones.connected(address))
    await phones.adb.input(address, [TypedText(text="after")])
    assert phones.typed(container) == "after"


def test_a_text_is_split_where_android_would_read_a_space() -> None:
    assert commands(TypedText(text="a%sb %s")) == [
        ["input", "text", "a%"],
        ["input", "text", "sb%s%"],
        ["input", "text", "s"],
    ]
    assert lines([Tap(x=1, y=2), TypedText(text="it's")]) == [
        "input tap 1 2 </dev/null && input text 'it'\"'\"'s' </dev/null"
    ]
    assert all(len(line.encode()) < 6000 for line in lines([TypedText(text="手'" * 250)] * 50))


async def test_vital_signs_are_read(phones: Phones) -> None:
    _, address = await phones.start()
    for _ in range(2):
        vitals = await phones.adb.vitals(address)
        assert vitals.cpu_load is not None and 0 <= vitals.cpu_load <= 1
        assert vitals.memory_total == 2048 << 20 and vitals.storage_total == 8 << 30
        assert vitals.memory_used and vitals.storage_used and vitals.foreground


async def test_a_phone_that_is_away_is_told_from_one_that_refuses(phones: Phones) -> None:
    container, address = await phones.start()
    await phones.farm.inflict(container.id, Faults(unauthorized=True))

    async def unauthorized() -> bool:
        return await phones.adb.state(address) == "unauthorized"

    await eventually(unauthorized)
    with pytest.raises(PhoneRefused) as refused:
        await phones.adb.shell(address, ["true"])
    assert refused.value.code == "unauthorized"
    await phones.provider.stop(container.id)
    with pytest.raises(PhoneAway):
        await phones.adb.connect(address)
    with pytest.raises(PhoneAway):
        await phones.adb.shell(address, ["true"])
    with pytest.raises(AdbServerAway):
        await Adb(("127.0.0.1", free_port())).states()
