"""From the file to what a store and a phone want to know of it."""

from hashlib import sha256
from typing import BinaryIO

import msgspec

from .archive import Archive
from .binary_xml import Reference
from .chunks import Malformed
from .icon import find_icon
from .jar_signature import jar_signer
from .manifest import Manifest, read_manifest, shown
from .refusal import ApkRefused, bad_manifest, not_certified
from .resources import ResourceTable
from .signatures import block_signers

LARGEST_MANIFEST = 2 << 20
LARGEST_TABLE = 32 << 20
_ABIS = frozenset({"arm64-v8a", "armeabi-v7a", "armeabi", "x86_64", "x86", "riscv64"})


class Apk(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`abis`: those it brings native code for, sorted; none: it runs anywhere. `size` in bytes.

    `signers`: SHA-256 of their certificates, in hexadecimal, sorted; who may update the app. `scheme` proved them.
    """

    package: str
    version_code: int
    version_name: str
    label: str
    min_sdk: int
    target_sdk: int
    abis: tuple[str, ...]
    permissions: tuple[str, ...]
    activity: str | None
    signers: tuple[str, ...]
    scheme: int
    size: int
    split: bool = False
    test_only: bool = False
    debuggable: bool = False


def read_apk(file: BinaryIO) -> Apk:
    """`file` is seekable. Reads all of it once, for its signature: not for an event loop. Raises ApkRefused."""
    archive = Archive(file)
    manifest = _manifest(archive)
    scheme, signers = _signers(archive)
    return Apk(
        package=manifest.package,
        version_code=manifest.version_code,
        version_name=manifest.version_name,
        label=_label(archive, manifest),
        min_sdk=manifest.min_sdk,
        target_sdk=manifest.target_sdk,
        abis=_abis(archive),
        permissions=manifest.permissions,
        activity=manifest.activity,
        signers=signers,
        scheme=scheme,
        size=archive.size,
        split=manifest.split,
        test_only=manifest.test_only,
        debuggable=manifest.debuggable,
    )


def read_icon(file: BinaryIO) -> bytes | None:
    """A PNG or WebP file of at most 512 KiB, None when there is none. Raises ApkRefused."""
    archive = Archive(file)
    reference = _manifest(archive).icon
    table = _table(archive)
    return find_icon(archive, table, reference) if table and reference else None


def _manifest(archive: Archive) -> Manifest:
    data = archive.read("AndroidManifest.xml", at_most=LARGEST_MANIFEST)
    if data is None:
        raise bad_manifest("The archive has no AndroidManifest.xml, and so is not an APK")
    return read_manifest(data)


def _signers(archive: Archive) -> tuple[int, tuple[str, ...]]:
    scheme, certificates = block_signers(archive) or (1, jar_signer(archive))
    if not certificates:
        raise not_certified("The APK is not signed")
    return scheme, tuple(sorted({sha256(certificate).hexdigest() for certificate in certificates}))


def _table(archive: Archive) -> ResourceTable | None:
    """None when there is none, or too large a one: it is wanted for what is shown, not for what is decided."""
    try:
        data = archive.read("resources.arsc", at_most=LARGEST_TABLE)
        return ResourceTable(data) if data else None
    except ApkRefused:
        return None


def _label(archive: Archive, manifest: Manifest) -> str:
    """In English, or in no language in particular; else the package's name."""
    label = manifest.label
    if isinstance(label, Reference):
        label = _text(_table(archive), label)
    return label or manifest.package


def _text(table: ResourceTable | None, reference: Reference) -> str | None:
    try:
        texts = table.texts(reference) if table else []
    except Malformed:
        return None
    best = min(
        texts, key=lambda found: ("", "en").index(found.language) if found.language in ("", "en") else 2, default=None
    )
    return shown(best.text) if best else None


def _abis(archive: Archive) -> tuple[str, ...]:
    parts = (name.split("/") for name in archive.entries if name.startswith("lib/") and name.endswith(".so"))
    return tuple(sorted({part[1] for part in parts if len(part) == 3 and part[1] in _ABIS}))
