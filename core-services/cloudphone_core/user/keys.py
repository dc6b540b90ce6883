"""Signing keys: published before they sign, kept published until their last token has ended, sealed where stored.

A key is `next` (published), `active` (the one that signs), `passive` (published still) and `retired` (withdrawn).
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from .models import KeyState, SigningKeyRow

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SIGNS_FOR = timedelta(days=30)
PUBLISHED_BEFORE = timedelta(minutes=15)
"""How long a key is `next` at least: three times as long as verifiers rely on the keys they fetched."""
PUBLISHED_AFTER = timedelta(hours=3)
"""How long a key is `passive`: longer than any token lives."""
_FORGOTTEN_AFTER = timedelta(days=90)
_NONCE_BYTES = 12


class Sealer:
    """Encrypts private keys by the installation's secret; a sealed key opens under its own id only."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"cloudphone signing keys").derive(secret.encode())
        self._cipher = ChaCha20Poly1305(derived)

    def seal(self, kid: str, key: Ed25519PrivateKey) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return nonce + self._cipher.encrypt(nonce, raw, kid.encode())

    def open(self, kid: str, sealed: bytes) -> Ed25519PrivateKey | None:
        """None when it was sealed with another secret."""
        try:
            raw = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
        except InvalidTag:
            return None
        return Ed25519PrivateKey.from_private_bytes(raw)


def public_jwk(key: SigningKeyRow) -> dict[str, str]:
    x = base64.urlsafe_b64encode(key.public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.kid, "alg": "EdDSA", "use": "sig"}


async def published_keys(session: AsyncSession) -> Sequence[SigningKeyRow]:
    """All but the retired ones, the active one first."""
    statement = (
        select(SigningKeyRow)
        .where(SigningKeyRow.state != "retired")
        .order_by(SigningKeyRow.state != "active", SigningKeyRow.created_at)
    )
    return (await session.scalars(statement)).all()


async def tend_keys(session: AsyncSession, sealer: Sealer, at: datetime) -> None:
    """Does what is due: a first key, a next one in time, its turn, and the end of old ones."""
    keys = await _locked(session)
    active, waiting = _usable(keys, "active", sealer), _usable(keys, "next", sealer)
    ripe = waiting is not None and at - waiting.since >= PUBLISHED_BEFORE
    if active is None or (ripe and at - active.since >= SIGNS_FOR):
        await _take_turn(session, keys, waiting or _made(session, sealer, at), at)
        waiting = None
    if waiting is None:
        _made(session, sealer, at)
    await _end_old(session, keys, sealer, at)


async def rotate_keys(session: AsyncSession, sealer: Sealer, at: datetime) -> None:
    """At once: the next key signs from now on. For a key that may have leaked: `withdraw_key` afterwards."""
    keys = await _locked(session)
    await _take_turn(session, keys, _usable(keys, "next", sealer) or _made(session, sealer, at), at)
    _made(session, sealer, at)


async def withdraw_key(session: AsyncSession, kid: str, at: datetime) -> None:
    """Takes a passive key from the published ones before its time; verifiers follow within five minutes."""
    for key in await _locked(session):
        if key.kid == kid and key.state == "passive":
            _move(key, "retired", at)


async def _locked(session: AsyncSession) -> Sequence[SigningKeyRow]:
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext("cloudphone signing keys"))))
    statement = select(SigningKeyRow).where(SigningKeyRow.state != "retired").order_by(SigningKeyRow.created_at)
    return (await session.scalars(statement)).all()


def _usable(keys: Sequence[SigningKeyRow], state: KeyState, sealer: Sealer) -> SigningKeyRow | None:
    return next((key for key in keys if key.state == state and _opens(key, sealer)), None)


def _opens(key: SigningKeyRow, sealer: Sealer) -> bool:
    return key.sealed is not None and sealer.open(key.kid, key.sealed) is not None


def _made(session: AsyncSession, sealer: Sealer, at: datetime) -> SigningKeyRow:
    private, kid = Ed25519PrivateKey.generate(), secrets.token_hex(8)
    key = SigningKeyRow(
        kid=kid,
        state="next",
        public=private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        sealed=sealer.seal(kid, private),
        created_at=at,
        since=at,
    )
    session.add(key)
    return key


async def _take_turn(session: AsyncSession, keys: Sequence[SigningKeyRow], key: SigningKeyRow, at: datetime) -> None:
    for other in keys:
        if other.state == "active":
            _move(other, "passive", at)
    # Two keys must at no time be active, and the unit of work would write them in any order.
    await session.flush()
    _move(key, "active", at)
    await session.flush()
    log.info("signing_key_activated", kid=key.kid)


def _move(key: SigningKeyRow, state: KeyState, at: datetime) -> None:
    key.state, key.since = state, at
    if state != "active":
        key.sealed = None


async def _end_old(session: AsyncSession, keys: Sequence[SigningKeyRow], sealer: Sealer, at: datetime) -> None:
    for key in keys:
        if key.state == "next" and not _opens(key, sealer):
            log.warning("signing_key_unreadable", kid=key.kid, advice="the secret it was sealed with has changed")
            _move(key, "retired", at)
        if key.state == "passive" and at - key.since >= PUBLISHED_AFTER:
            _move(key, "retired", at)
    old = SigningKeyRow.state == "retired", SigningKeyRow.since < at - _FORGOTTEN_AFTER
    await session.execute(delete(SigningKeyRow).where(*old).execution_options(synchronize_session=False))
