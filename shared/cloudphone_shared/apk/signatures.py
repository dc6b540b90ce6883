"""Who signed an APK: the certificates of its signing block (schemes v2 and v3), proven, or else of scheme v1.

Source: source.android.com/docs/security/features/apksigning.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .archive import Archive
from .refusal import not_certified

_V2, _V3 = 0x7109871A, 0xF05368C0
_MAGIC = b"APK Sig Block 42"
_LARGEST_BLOCK = 4 << 20
_CHUNK = 1 << 20
_SHA256, _SHA512 = hashes.SHA256(), hashes.SHA512()
_ALGORITHMS: dict[int, tuple[hashes.SHA256 | hashes.SHA512, bool]] = {
    0x0101: (_SHA256, True),
    0x0102: (_SHA512, True),
    0x0103: (_SHA256, False),
    0x0104: (_SHA512, False),
    0x0201: (_SHA256, False),
    0x0202: (_SHA512, False),
    0x0301: (_SHA256, False),
}
"""By its number in the block: the hash, and whether RSA pads by PSS."""


class Signed(NamedTuple):
    """What the block says of one signer; `digests` of the whole archive, by algorithm."""

    data: bytes
    signatures: dict[int, bytes]
    public_key: bytes
    digests: dict[int, bytes]
    certificate: bytes


def block_signers(archive: Archive) -> tuple[int, list[bytes]] | None:
    """The newest scheme used and the signers' certificates (DER); None when there is no signing block.

    Raises ApkRefused when a signature is not the signer's, or the archive is not what was signed: reads all of it.
    """
    found = _block(archive)
    if found is None:
        return None
    block_at, block = found
    schemes = dict(_pairs(block))
    for scheme, number in ((3, _V3), (2, _V2)):
        if number in schemes:
            signers = [_signed(signer, scheme) for signer in _sequence(_prefixed(schemes[number])[0])]
            if not signers:
                raise not_certified("The signing block names no signer")
            for signer in signers:
                _prove(archive, block_at, signer)
            return scheme, [signer.certificate for signer in signers]
    return None


def _block(archive: Archive) -> tuple[int, bytes] | None:
    """Where it begins, and the pairs in it."""
    if archive.directory_at < 32:
        return None
    size, magic = struct.unpack("<Q16s", archive.at(archive.directory_at - 24, 24))
    if magic != _MAGIC:
        return None
    start = archive.directory_at - size - 8
    if not 24 <= size <= _LARGEST_BLOCK or start < 0:
        raise not_certified("The signing block is malformed")
    block = archive.at(start, size + 8)
    if block[:8] != struct.pack("<Q", size):
        raise not_certified("The signing block is malformed")
    return start, block[8:-24]


def _pairs(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 12 <= len(block):
        length, number = struct.unpack_from("<QI", block, at)
        if length < 4 or at + 8 + length > len(block):
            raise not_certified("The signing block is malformed")
        yield number, block[at + 12 : at + 8 + length]
        at += 8 + length


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    """The first part, which its length precedes, and the rest."""
    if len(data) < 4:
        raise not_certified("The signing block is malformed")
    (length,) = struct.unpack_from("<I", data)
    if 4 + length > len(data):
        raise not_certified("The signing block is malformed")
    return data[4 : 4 + length], data[4 + length :]


def _sequence(data: bytes) -> Iterator[bytes]:
    while data:
        part, data = _prefixed(data)
        yield part


def _numbered(data: bytes) -> dict[int, bytes]:
    """Signatures or digests by their algorithm's number."""
    found: dict[int, bytes] = {}
    for part in _sequence(data):
        if len(part) < 8:
            raise not_certified("The signing block is malformed")
        found[struct.unpack_from("<I", part)[0]] = _prefixed(part[4:])[0]
    return found


def _signed(signer: bytes, scheme: int) -> Signed:
    data, rest = _prefixed(signer)
    signatures, rest = _prefixed(rest[8:] if scheme == 3 else rest)
    public_key, _ = _prefixed(rest)
    digests, rest = _prefixed(data)
    certificates, _ = _prefixed(rest)
    certificate = next(_sequence(certificates), None)
    if certificate is None:
        raise not_certified("A signer has no certificate")
    return Signed(data, _numbered(signatures), public_key, _numbered(digests), certificate)


def _prove(archive: Archive, block_at: int, signer: Signed) -> None:
    algorithm = max(set(signer.signatures) & set(signer.digests) & set(_ALGORITHMS), default=None)
    if algorithm is None:
        raise not_certified("The APK is signed by an algorithm that is not known here")
    hash_, pss = _ALGORITHMS[algorithm]
    try:
        key = x509.load_der_x509_certificate(signer.certificate).public_key()
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != signer.public_key:
            raise not_certified("The signer's key is not that of the certificate")
        verify(key, signer.signatures[algorithm], signer.data, hash_, pss=pss)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm, TypeError):
        raise not_certified("The signature is not the signer's") from None
    if content_digest(archive, block_at, hash_.name) != signer.digests[algorithm]:
        raise not_certified("The APK is not what was signed: it was changed, or damaged on its way")


def verify(key: object, signature: bytes, data: bytes, hash_: hashes.HashAlgorithm, *, pss: bool = False) -> None:
    """Raises InvalidSignature, and UnsupportedAlgorithm for a kind of key that Android does not take."""
    if isinstance(key, rsa.RSAPublicKey):
        salted = padding.PSS(padding.MGF1(hash_), hash_.digest_size) if pss else padding.PKCS1v15()
        key.verify(signature, data, salted, hash_)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(hash_))
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, data, hash_)
    else:
        raise UnsupportedAlgorithm("kind of key")


def content_digest(archive: Archive, block_at: int, hash_: str) -> bytes:
    """Of all but the signing block, in chunks of 1 MiB; the end record as if the block were not there."""
    end = bytearray(archive.end)
    struct.pack_into("<I", end, 16, block_at)
    digests = [
        hashlib.new(hash_, b"\xa5" + struct.pack("<I", len(chunk)) + chunk).digest()
        for part in (
            _pieces(archive, 0, block_at),
            _pieces(archive, archive.directory_at, archive.end_at),
            iter([bytes(end)]),
        )
        for chunk in part
    ]
    return hashlib.new(hash_, b"\x5a" + struct.pack("<I", len(digests)) + b"".join(digests)).digest()


def _pieces(archive: Archive, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _CHUNK):
        yield archive.at(at, min(_CHUNK, end - at))
