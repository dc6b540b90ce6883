"""Scheme v1: the archive's own files META-INF/*.SF and their signature, for APKs without a signing block.

Proven are the signature and the list of digests that it signs, and of the listed files the manifest.
"""

import base64
import hashlib
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from .archive import Archive
from .refusal import not_certified
from .signatures import verify

_LARGEST = 8 << 20
_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    bytes.fromhex("2b0e03021a"): hashes.SHA1(),  # noqa: S303
    bytes.fromhex("608648016503040201"): hashes.SHA256(),
    bytes.fromhex("608648016503040202"): hashes.SHA384(),
    bytes.fromhex("608648016503040203"): hashes.SHA512(),
}
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")


class Node(NamedTuple):
    """One value of DER: its tag, where its header and its content begin, and where it ends."""

    tag: int
    start: int
    body: int
    end: int


def jar_signer(archive: Archive) -> list[bytes]:
    """The signer's certificate (DER); none when nobody signed. Raises ApkRefused."""
    for name in sorted(archive.entries):
        folder, _, file = name.rpartition("/")
        stem, _, kind = file.rpartition(".")
        if folder == "META-INF" and kind in ("RSA", "EC", "DSA"):
            signed = archive.read(f"META-INF/{stem}.SF", at_most=_LARGEST)
            block = archive.read(name, at_most=1 << 20)
            if signed is not None and block is not None:
                try:
                    certificate = _proven(block, signed)
                except (ValueError, IndexError, InvalidSignature, UnsupportedAlgorithm, TypeError):
                    raise not_certified("The signature is not the signer's") from None
                _check_digests(archive, signed)
                return [certificate]
    return []


def _proven(block: bytes, signed: bytes) -> bytes:
    certificates = pkcs7.load_der_pkcs7_certificates(block)
    signer = _signer_info(block)
    parts = _parts(block, signer)
    serial = int.from_bytes(_content(block, _parts(block, parts[1])[1]), "big", signed=True)
    certificate = next(each for each in certificates if each.serial_number == serial)
    hash_ = _HASHES[_content(block, _parts(block, parts[2])[0])]
    attributes = parts[3] if parts[3].tag == 0xA0 else None
    signature = _content(block, parts[5 if attributes else 4])
    message = signed
    if attributes:
        if _message_digest(block, attributes) != hashlib.new(hash_.name, signed).digest():
            raise InvalidSignature
        message = b"\x31" + block[attributes.start + 1 : attributes.end]
    verify(certificate.public_key(), signature, message, hash_)
    return certificate.public_bytes(Encoding.DER)


def _signer_info(block: bytes) -> Node:
    """ContentInfo → SignedData → its last part, signerInfos → the first."""
    content = _parts(block, _node(block, 0, len(block)))[1]
    signed_data = _parts(block, content)[0]
    return _parts(block, _parts(block, signed_data)[-1])[0]


def _message_digest(block: bytes, attributes: Node) -> bytes:
    for attribute in _parts(block, attributes):
        name, values = _parts(block, attribute)
        if _content(block, name) == _MESSAGE_DIGEST:
            return _content(block, _parts(block, values)[0])
    raise InvalidSignature


def _check_digests(archive: Archive, signed: bytes) -> None:
    about = _sections(signed)[""]
    if about.get("X-Android-APK-Signed"):
        raise not_certified("The APK was signed by a newer scheme, and its signing block was taken away")
    listed = archive.read("META-INF/MANIFEST.MF", at_most=_LARGEST)
    manifest = archive.read("AndroidManifest.xml", at_most=_LARGEST)
    if listed is None or not _digest_matches(about, listed, "-Digest-Manifest"):
        raise not_certified("The APK is not what was signed: its list of files was changed")
    section = _sections(listed).get("AndroidManifest.xml", {})
    if manifest is None or not _digest_matches(section, manifest, "-Digest"):
        raise not_certified("The APK is not what was signed: its manifest was changed")


def _digest_matches(section: dict[str, str], content: bytes, suffix: str) -> bool:
    for name, hash_ in (("SHA-512", "sha512"), ("SHA-256", "sha256"), ("SHA1", "sha1")):
        digest = section.get(f"{name}{suffix}")
        if digest is not None:
            return base64.b64encode(hashlib.new(hash_, content).digest()).decode() == digest
    return False


def _sections(data: bytes) -> dict[str, dict[str, str]]:
    """By `Name`; the first, which is about the whole, under the empty one."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n ", "")
    sections: dict[str, dict[str, str]] = {"": {}}
    for number, part in enumerate(text.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in part.split("\n") if ": " in line)
        if number == 0:
            sections[""] = fields
        elif "Name" in fields:
            sections[fields["Name"]] = fields
    return sections


def _node(data: bytes, at: int, end: int) -> Node:
    tag, length, body = data[at], data[at + 1], at + 2
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4:
            raise ValueError("length")
        length, body = int.from_bytes(data[body : body + width], "big"), body + width
    if body + length > end:
        raise ValueError("length")
    return Node(tag, at, body, body + length)


def _parts(data: bytes, node: Node) -> list[Node]:
    parts: list[Node] = []
    at = node.body
    while at < node.end:
        parts.append(_node(data, at, node.end))
        at = parts[-1].end
    return parts


def _content(data: bytes, node: Node) -> bytes:
    return data[node.body : node.end]
