"""What an APK is, is read from the file; what is none is refused with a sentence and Android's word for it."""

import io
import struct
from pathlib import Path

import pytest

from cloudphone_shared.apk import Apk, ApkRefused, read_apk, read_icon
from tests.apks import ADAPTIVE, BAD, TINY, apk, archive, manifest, signer


def read(data: bytes) -> Apk:
    return read_apk(io.BytesIO(data))


def refusal(data: bytes) -> ApkRefused:
    with pytest.raises(ApkRefused) as refused:
        read(data)
    assert refused.value.detail
    return refused.value


@pytest.mark.parametrize("path", [TINY, ADAPTIVE], ids=["tiny", "adaptive"])
def test_a_real_apk_is_told_with_its_icon_and_its_signer(path: Path) -> None:
    with path.open("rb") as file:
        told, icon = read_apk(file), read_icon(file)
    assert (told.package, told.version_code, told.version_name) == (f"org.cloudphone.{path.stem}", 42, "1.4.2")
    assert (told.label, told.min_sdk, told.target_sdk, told.abis) == ("Tiny Phone", 21, 29, ())
    assert told.permissions == ("android.permission.INTERNET",)
    assert told.activity == "android.app.NativeActivity"
    assert told.signers == ("03b9cba1eb0f9deab7cc5d8b4a2b71c872c3fd0aa6eec014ad1c20903887d2a3",)
    assert (told.scheme, told.size) == (3, path.stat().st_size)
    assert icon
    assert icon.startswith(b"\x89PNG")


def test_native_code_and_signer_are_told() -> None:
    told = read(apk("org.example.game", 7, abis=("x86_64", "arm64-v8a"), by="Ana"))
    assert (told.version_code, told.version_name, told.label) == (7, "7.0", "Game")
    assert told.abis == ("arm64-v8a", "x86_64")
    assert told.activity == "org.example.game.Main"
    assert told.signers == (signer("Ana").sha256,)


def test_garbage_is_no_apk() -> None:
    for data in (b"", b"PK", BAD.read_bytes(), b"\0" * 5000, b"PK\3\4" + bytes(100)):
        assert refusal(data).failure == "INSTALL_PARSE_FAILED_NOT_APK"


def test_a_truncated_apk_is_refused_wherever_it_ends() -> None:
    whole = apk()
    for end in range(0, len(whole), 41):
        assert refusal(whole[:end]).failure == "INSTALL_PARSE_FAILED_NOT_APK"


def test_an_archive_without_a_manifest_is_no_apk() -> None:
    assert refusal(archive({"readme": b"hello"})).failure == "INSTALL_PARSE_FAILED_BAD_MANIFEST"


def test_text_instead_of_compiled_xml_is_refused() -> None:
    assert refusal(archive({"AndroidManifest.xml": b"<manifest/>"})).failure == "INSTALL_PARSE_FAILED_BAD_MANIFEST"


@pytest.mark.parametrize("name", ["game", "", "org..game", "org.1game", "org.game/../..", "ö.game"])
def test_what_is_no_package_name_is_refused(name: str) -> None:
    assert refusal(apk(name)).failure == "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME"


def test_an_apk_that_nobody_signed_is_refused() -> None:
    assert refusal(apk(by=None)).failure == "INSTALL_PARSE_FAILED_NO_CERTIFICATES"


def test_one_changed_bit_is_noticed() -> None:
    """Wherever it is: in what was signed, in the signature, in the certificate."""
    whole = apk(ballast=3000)
    for at in range(0, len(whole), 53):
        changed = bytearray(whole)
        changed[at] ^= 1
        refusal(bytes(changed))


def test_a_foreign_certificate_is_not_believed() -> None:
    ours = signer("Ana").certificate
    forger = next(name for name in map(str, range(100, 1000)) if len(signer(name).certificate) == len(ours))
    forged = apk(by=forger).replace(signer(forger).certificate, ours)
    assert refusal(forged).failure == "INSTALL_PARSE_FAILED_NO_CERTIFICATES"


def test_taking_the_newer_signature_away_is_noticed() -> None:
    """The old scheme covers less: what was signed by both is not believed by the old one alone."""
    assert "taken away" in refusal(without_block(TINY.read_bytes())).detail


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = archive({"AndroidManifest.xml": bytes(30 << 20)})
    assert len(bomb) < 1 << 20
    assert "at most" in refusal(bomb).detail


def test_a_file_that_is_there_twice_is_refused() -> None:
    """Or one reader would be shown one manifest, and another the other."""
    name, other = b"AndroidManifest.xml", b"AndroidManifest.xmk"
    twice = archive({name.decode(): manifest("a.b", 1, 1, "", None), other.decode(): b"x"}).replace(other, name)
    assert "twice" in refusal(twice).detail


def without_block(whole: bytes) -> bytes:
    end_at = whole.rindex(b"PK\5\6")
    (directory_at,) = struct.unpack_from("<I", whole, end_at + 16)
    (size,) = struct.unpack_from("<Q", whole, directory_at - 24)
    block_at = directory_at - size - 8
    end = bytearray(whole[end_at:])
    struct.pack_into("<I", end, 16, block_at)
    return whole[:block_at] + whole[directory_at:end_at] + bytes(end)
