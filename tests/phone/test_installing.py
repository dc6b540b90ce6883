"""A phone installs what fits, and refuses the rest with Android's own codes."""

import pytest

from cloudphone_phone import Faults, Model, Phone
from tests.apks import BAD, TINY, apk
from tests.phone.host import Host, host

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shell(phone: Phone):
    async with host(phone.address) as connection:
        yield connection


async def versions(shell: Host) -> dict[str, str]:
    lines = (await shell.run("pm list packages -3 --show-versioncode")).split("\n")
    return dict(line.removeprefix("package:").split(" versionCode:") for line in lines if line)


async def test_an_update_keeps_the_app_and_a_downgrade_is_refused(shell: Host) -> None:
    assert await shell.install(apk(version=2)) == "Success"
    assert await shell.install(apk(version=3), "-r") == "Success"
    assert await versions(shell) == {"org.example.game": "3"}
    assert await shell.install(apk(version=2), "-r") == "INSTALL_FAILED_VERSION_DOWNGRADE"
    assert await shell.install(apk(version=3), "-R") == "INSTALL_FAILED_ALREADY_EXISTS"
    assert await versions(shell) == {"org.example.game": "3"}
    assert await shell.install(apk(version=2), "-r", "-d") == "Success"
    assert await versions(shell) == {"org.example.game": "2"}


async def test_only_its_signer_may_update_an_app(shell: Host) -> None:
    assert await shell.install(apk(version=1, by="Ana")) == "Success"
    assert await shell.install(apk(version=2, by="Ben")) == "INSTALL_FAILED_UPDATE_INCOMPATIBLE"
    await shell.run("pm uninstall org.example.game")
    assert await shell.install(apk(version=2, by="Ben")) == "Success"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (BAD.read_bytes(), "INSTALL_PARSE_FAILED_NOT_APK"),
        (TINY.read_bytes()[:9000], "INSTALL_PARSE_FAILED_NOT_APK"),
        (apk(by=None), "INSTALL_PARSE_FAILED_NO_CERTIFICATES"),
        (apk("game"), "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME"),
        (apk(abis=("riscv64",)), "INSTALL_FAILED_NO_MATCHING_ABIS"),
        (apk(min_sdk=99), "INSTALL_FAILED_OLDER_SDK"),
        (apk(test_only=True), "INSTALL_FAILED_TEST_ONLY"),
        (apk("com.android.settings"), "INSTALL_FAILED_UPDATE_INCOMPATIBLE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_installed_is_refused_and_leaves_nothing(shell: Host, phone: Phone, what, code) -> None:
    before = phone.android.files.used
    assert await shell.install(what) == code
    assert await versions(shell) == {}
    assert phone.android.files.used == before


async def test_the_native_code_that_fits_best_is_chosen(shell: Host) -> None:
    assert await shell.install(apk(abis=("armeabi-v7a", "arm64-v8a"))) == "Success"
    assert "primaryCpuAbi=arm64-v8a" in await shell.run("dumpsys package org.example.game")


async def test_a_test_app_is_installed_when_it_is_meant(shell: Host) -> None:
    assert await shell.install(apk(test_only=True), "-t") == "Success"


async def test_a_full_disk_refuses_apps_and_files(shell: Host, phone: Phone) -> None:
    await phone.inflict(Faults(disk_full=True))
    assert await shell.install(apk()) == "INSTALL_FAILED_INSUFFICIENT_STORAGE"
    assert "No space left" in await shell.run("echo more > /sdcard/more")
    await phone.inflict(Faults())
    assert await shell.install(apk()) == "Success"


async def test_an_app_larger_than_the_disk_is_refused(tmp_path) -> None:
    phone = Phone(tmp_path / "volume", model=Model(boot_seconds=0.0, storage_bytes=300_000))
    await phone.start()
    await phone.until("running")
    async with host(phone.address) as shell:
        assert await shell.install(apk(ballast=400_000)) == "INSTALL_FAILED_INSUFFICIENT_STORAGE"
        assert await shell.install(apk(ballast=50_000)) == "Success"
        assert "No space left" in await shell.run("cat > /sdcard/file", bytes(300_000))
        assert int((await shell.run("df /data")).split("\n")[1].split()[2]) <= 300
    await phone.stop()


async def test_an_installation_that_breaks_off_leaves_nothing(phone: Phone) -> None:
    before = phone.android.files.used
    async with host(phone.address) as shell:
        whole = apk(ballast=200_000)
        said = await shell.run(f"cmd package install -S {len(whole)} < /dev/null", whole)
        assert "INSTALL_FAILED_INVALID_APK" in said
    assert phone.android.files.used == before


async def test_any_code_can_be_asked_for(shell: Host, phone: Phone) -> None:
    await phone.inflict(Faults(install_failure="INSTALL_FAILED_DEXOPT"))
    assert await shell.install(apk()) == "INSTALL_FAILED_DEXOPT"
    assert await versions(shell) == {}
