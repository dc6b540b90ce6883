"""APKs made to measure: manifest, native code, signature (scheme v2), and whatever is to be wrong with them."""

import datetime
import hashlib
import io
import struct
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

DATA = Path(__file__).parent / "data"
TINY, ADAPTIVE, BAD = (DATA / f"{name}.apk" for name in ("tiny", "adaptive", "bad"))

_IDS = {
    "label": 0x01010001,
    "name": 0x01010003,
    "minSdkVersion": 0x0101020C,
    "versionCode": 0x0101021B,
    "versionName": 0x0101021C,
    "testOnly": 0x01010272,
}
_V2 = 0x7109871A
_ECDSA_SHA256 = 0x0201
Value = str | int | bool


class Signer(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.certificate).hexdigest()


@cache
def signer(name: str) -> Signer:
    """The same one for a name, as long as the tests run."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
    )
    return Signer(key, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def apk(
    package: str = "org.example.game",
    version: int = 1,
    *,
    abis: Sequence[str] = (),
    min_sdk: int = 21,
    label: str = "Game",
    test_only: bool = False,
    activity: str | None = ".Main",
    by: str | None = "Ana",
    ballast: int = 0,
) -> bytes:
    """Signed `by` that person, by nobody for None. `ballast`: bytes that cannot be compressed."""
    files = {"AndroidManifest.xml": manifest(package, version, min_sdk, label, activity, test_only=test_only)}
    files |= {f"lib/{abi}/libgame.so": b"\x7fELF" + abi.encode() for abi in abis}
    if ballast:
        files["assets/ballast"] = hashlib.shake_128(package.encode()).digest(ballast)
    return signed(archive(files), signer(by)) if by else archive(files)


def archive(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zip_:
        for name, content in files.items():
            zip_.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def manifest(
    package: str, version: int, min_sdk: int, label: str, activity: str | None, *, test_only: bool = False
) -> bytes:
    document = Document()
    document.open("manifest", package=package, versionCode=version, versionName=f"{version}.0")
    document.open("uses-sdk", minSdkVersion=min_sdk)
    document.close("uses-sdk")
    document.open("application", label=label, **({"testOnly": True} if test_only else {}))
    if activity:
        document.open("activity", name=activity)
        document.open("intent-filter")
        for element, name in (("action", "action.MAIN"), ("category", "category.LAUNCHER")):
            document.open(element, name=f"android.intent.{name}")
            document.close(element)
        document.close("intent-filter")
        document.close("activity")
    document.close("application")
    document.close("manifest")
    return document.compiled()


class Document:
    """Compiles XML as Android's tools do, element by element."""

    def __init__(self) -> None:
        self._strings = {name: number for number, name in enumerate(_IDS)}
        self._parts: list[bytes] = []

    def open(self, name: str, /, **attributes: Value) -> None:
        encoded = b"".join(self._attribute(key, value) for key, value in attributes.items())
        node = struct.pack("<IIHHHHHH", 0xFFFFFFFF, self._string(name), 20, 20, len(attributes), 0, 0, 0)
        self._parts.append(_chunk(0x0102, struct.pack("<II", 1, 0xFFFFFFFF), node + encoded))

    def close(self, name: str) -> None:
        node = struct.pack("<II", 0xFFFFFFFF, self._string(name))
        self._parts.append(_chunk(0x0103, struct.pack("<II", 1, 0xFFFFFFFF), node))

    def compiled(self) -> bytes:
        ids = _chunk(0x0180, b"", b"".join(struct.pack("<I", id_) for id_ in _IDS.values()))
        return _chunk(0x0003, b"", self._pool() + ids + b"".join(self._parts))

    def _attribute(self, name: str, value: Value) -> bytes:
        kind, data = 0x10, value
        if isinstance(value, bool):
            kind, data = 0x12, 0xFFFFFFFF if value else 0
        elif isinstance(value, str):
            kind, data = 0x03, self._string(value)
        return struct.pack("<IIIHBBI", 0xFFFFFFFF, self._string(name), 0xFFFFFFFF, 8, 0, kind, data)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _pool(self) -> bytes:
        offsets: list[int] = []
        data = b""
        for text in self._strings:
            offsets.append(len(data))
            data += struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0"
        data += b"\0" * (-len(data) % 4)
        start = 28 + 4 * len(offsets)
        header = struct.pack("<IIIII", len(offsets), 0, 0, start, 0)
        return _chunk(0x0001, header, b"".join(struct.pack("<I", offset) for offset in offsets) + data)


def signed(zip_: bytes, by: Signer) -> bytes:
    """With a signing block (scheme v2) before the directory."""
    end_at = zip_.rindex(b"PK\5\6")
    (directory_at,) = struct.unpack_from("<I", zip_, end_at + 16)
    parts = (zip_[:directory_at], zip_[directory_at:end_at], zip_[end_at:])
    data = _prefixed(_prefixed(_numbered(_digest(parts)))) + _prefixed(_prefixed(by.certificate)) + _prefixed(b"")
    signature = by.key.sign(data, ec.ECDSA(hashes.SHA256()))
    public = by.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signer_ = _prefixed(data) + _prefixed(_prefixed(_numbered(signature))) + _prefixed(public)
    value = _prefixed(_prefixed(signer_))
    pairs = struct.pack("<QI", len(value) + 4, _V2) + value
    size = struct.pack("<Q", len(pairs) + 24)
    block = size + pairs + size + b"APK Sig Block 42"
    end = bytearray(parts[2])
    struct.pack_into("<I", end, 16, directory_at + len(block))
    return parts[0] + block + parts[1] + bytes(end)


def _digest(parts: Sequence[bytes]) -> bytes:
    pieces = [part[at : at + (1 << 20)] for part in parts for at in range(0, len(part), 1 << 20)]
    digests = [hashlib.sha256(b"\xa5" + struct.pack("<I", len(piece)) + piece).digest() for piece in pieces]
    return hashlib.sha256(b"\x5a" + struct.pack("<I", len(digests)) + b"".join(digests)).digest()


def _chunk(kind: int, header: bytes, body: bytes) -> bytes:
    return struct.pack("<HHI", kind, 8 + len(header), 8 + len(header) + len(body)) + header + body


def _prefixed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _numbered(data: bytes) -> bytes:
    return struct.pack("<I", _ECDSA_SHA256) + _prefixed(data)
