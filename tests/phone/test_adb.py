"""The real adb talks to a phone as to any other."""

import asyncio
import io
import re

import pytest
from adbutils import AdbInstallError
from PIL import Image

from cloudphone_phone import Phone
from tests.apks import ADAPTIVE, TINY
from tests.conditions import eventually
from tests.phone.adb import Connected

pytestmark = pytest.mark.anyio


async def test_it_introduces_itself(connected: Connected, phone: Phone) -> None:
    assert await connected.state() == "device"
    assert (await connected.shell("getprop ro.product.model")).strip() == phone.model.name
    assert (await connected.shell("getprop sys.boot_completed")).strip() == "1"


async def test_output_errors_and_status_stay_apart(connected: Connected) -> None:
    done = await connected("shell", 'echo one "two  three" $HOME; nosuch; exit 7')
    assert done.status == 7
    assert done.output == b"one two  three /\n"
    assert done.errors == b"/system/bin/sh: nosuch: inaccessible or not found\n"
    assert (await connected("shell", "nosuch")).status == 127


async def test_a_command_reads_what_is_sent_to_it(connected: Connected) -> None:
    text = b"line\n" * 100_000
    done = await connected("shell", "wc -c", given=text)
    assert done.output == f"{len(text)}\n".encode()


async def test_what_never_ends_can_be_cut_off(connected: Connected) -> None:
    assert "Linux version" in await connected.shell("logcat -v raw | head -n 1")
    assert (
        await connected.shell("echo a b | grep -c 'a.*b' && echo yes || echo no; ls /sdcard/D* | wc -l")
        == "1\nyes\n3\n"
    )


async def test_a_typed_session_ends_with_exit(connected: Connected) -> None:
    done = await connected("shell", given=b"cd /sdcard\npwd\nexit 3\n")
    assert (done.status, done.output) == (3, b"/sdcard\n")


async def test_files_come_back_as_they_went(connected: Connected, tmp_path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "there").write_bytes(content)
    assert (await connected("push", str(tmp_path / "there"), "/sdcard/Download/new/file")).status == 0
    assert (await connected("pull", "/sdcard/Download/new/file", str(tmp_path / "back"))).status == 0
    assert (tmp_path / "back").read_bytes() == content
    assert (await connected.shell("ls /sdcard/Download/new")).split() == ["file"]
    assert "No such file" in (await connected("pull", "/sdcard/none", str(tmp_path / "none"))).text
    refused = await connected("push", str(tmp_path / "there"), "/system/bin/file")
    assert refused.status != 0
    assert "Read-only" in refused.text


async def test_folders_go_and_come_whole(connected: Connected, tmp_path) -> None:
    for name in ("a", "b/c", "b/d e"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert (await connected("push", str(tmp_path / "tree"), "/sdcard/tree")).status == 0
    assert (await connected("pull", "/sdcard/tree", str(tmp_path / "back"))).status == 0
    back = tmp_path / "back"
    assert {str(path.relative_to(back)): path.read_text() for path in back.rglob("*") if path.is_file()} == {
        name: name for name in ("a", "b/c", "b/d e")
    }


async def test_an_app_is_installed_started_and_removed(connected: Connected) -> None:
    assert "Success" in (await connected("install", str(TINY))).text
    assert "package:org.cloudphone.tiny\n" in await connected.shell("pm list packages -3")
    await connected.shell("monkey -p org.cloudphone.tiny -c android.intent.category.LAUNCHER 1")
    assert "org.cloudphone.tiny/android.app.NativeActivity" in await connected.shell(
        "dumpsys window | grep mCurrentFocus"
    )
    assert "Success" in (await connected("uninstall", "org.cloudphone.tiny")).text
    assert await connected.shell("pm list packages -3") == ""
    assert "com.android.launcher3" in await connected.shell("dumpsys window | grep mCurrentFocus")
    assert "DELETE_FAILED_INTERNAL_ERROR" in (await connected("uninstall", "org.cloudphone.tiny")).text


async def test_adbutils_does_what_the_platform_needs(connected: Connected, tmp_path) -> None:
    def use() -> None:
        device = connected.client()
        assert device.shell2("nosuch").returncode == 127
        assert device.shell2("echo out; exit 3", v2=True).returncode == 3
        device.install(str(ADAPTIVE), nolaunch=True, silent=True)
        assert "org.cloudphone.adaptive" in device.list_packages()
        device.app_start("org.cloudphone.adaptive")
        assert device.app_current().package == "org.cloudphone.adaptive"
        info = device.app_info("org.cloudphone.adaptive")
        assert info
        assert (info.version_code, info.version_name) == (42, "1.4.2")
        device.click(100, 200)
        device.swipe(100, 900, 100, 300, 0.1)
        device.send_keys("typed")
        device.keyevent("HOME")
        assert device.app_current().package == "com.android.launcher3"
        assert device.screenshot().size == (720, 1280)
        assert device.window_size() == (720, 1280)
        assert device.battery().level == 100
        device.sync.push(b"pushed", "/data/local/tmp/pushed")
        assert device.sync.read_bytes("/data/local/tmp/pushed") == b"pushed"
        assert device.sync.stat("/data/local/tmp/pushed").size == 6
        assert [entry.path for entry in device.sync.iter_directory("/data/local/tmp") if entry.path != "pushed"] == []
        device.uninstall("org.cloudphone.adaptive")
        assert "org.cloudphone.adaptive" not in device.list_packages()
        with pytest.raises(AdbInstallError, match="INSTALL_PARSE_FAILED_NOT_APK"):
            device.sync.push(b"garbage", "/data/local/tmp/bad.apk")
            device.install_remote("/data/local/tmp/bad.apk")

    await asyncio.to_thread(use)


async def picture(connected: Connected) -> Image.Image:
    return Image.open(io.BytesIO((await connected("exec-out", "screencap -p")).output)).convert("RGB")


async def test_the_screen_shows_what_is_on_it(connected: Connected) -> None:
    home = await picture(connected)
    assert home.size == (720, 1280)
    await connected("install", str(TINY))
    with_icon = await picture(connected)
    assert (with_icon.tobytes() == home.tobytes()) is False
    await connected.shell("input tap 450 130")
    opened = await picture(connected)
    assert "org.cloudphone.tiny" in await connected.shell("dumpsys activity | grep mResumedActivity")
    await connected.shell("input text hello%sworld")
    typed = await picture(connected)
    assert typed.tobytes() != opened.tobytes()
    await connected.shell("input tap 300 700")
    assert (await picture(connected)).getpixel((300, 681)) != typed.getpixel((300, 681))
    await connected.shell("input keyevent POWER")
    assert (await picture(connected)).getextrema() == ((0, 0), (0, 0), (0, 0))


async def test_a_raw_screenshot_says_its_size(connected: Connected) -> None:
    raw = (await connected("exec-out", "screencap")).output
    assert [int.from_bytes(raw[at : at + 4], "little") for at in (0, 4, 8)] == [720, 1280, 1]
    assert len(raw) == 16 + 720 * 1280 * 4


async def test_the_log_is_shown_followed_and_cleared(connected: Connected) -> None:
    assert "BOOT_COMPLETED" in await connected.shell("logcat -d")
    following = await connected.start("logcat", "-v", "brief", "Mine:I", "*:S")
    assert following.stdout
    line = asyncio.create_task(following.stdout.readline())

    async def heard() -> bool:
        await connected.shell("log -t Mine 'a line of mine'; log -t Other 'another line'")
        return line.done()

    await eventually(heard)
    assert b"I/Mine" in await line
    following.kill()
    await following.wait()
    await connected("logcat", "-c")
    assert await connected.shell("logcat -d") == ""


async def test_vital_signs_can_be_watched(connected: Connected, phone: Phone) -> None:
    meminfo = await connected.shell("cat /proc/meminfo")
    assert int(re.findall(r"MemTotal: +(\d+) kB", meminfo)[0]) == phone.model.memory_bytes >> 10
    before = int((await connected.shell("df /data")).splitlines()[1].split()[2])
    await connected("install", str(TINY))
    assert int((await connected.shell("df /data")).splitlines()[1].split()[2]) > before
    assert float((await connected.shell("cat /proc/uptime")).split()[0]) >= 0
    assert (await connected.shell("cat /proc/stat")).startswith("cpu  ")
    assert "com.android.launcher3" in await connected.shell("ps -A")
    assert "%cpu" in await connected.shell("top -b -n 1")


async def test_what_a_phone_does_not_do_is_refused_politely(connected: Connected) -> None:
    assert "not offered" in (await connected("reverse", "tcp:1", "tcp:2")).text
    assert "one port" in (await connected("tcpip", "5555")).text
    assert "production builds" in (await connected("root")).text
    assert await connected.state() == "device"
