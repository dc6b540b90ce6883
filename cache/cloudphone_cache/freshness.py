"""Fresh-After: a signed note of versions that its bearer has seen, valid for 60 s.

A write's answer carries one; a read that brings it along is answered with nothing older, by any process.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

import msgspec

HEADER = "Fresh-After"
COOKIE = "fresh-after"
LIFE_SECONDS = 60
MOST_ENTITIES = 16

Versions = dict[str, dict[str, int]]
"""Per service, entity to version."""

_CLOCKS_SECONDS = 600
"""That the clock of who signed may have been ahead of the reader's, for all that both have heard."""
_MAC_BYTES = 16
_LONGEST = 4096


class _Note(msgspec.Struct, array_like=True):
    until: int
    versions: Versions


_decode = msgspec.msgpack.Decoder(_Note).decode


class Freshness:
    """`key` must be the same in every process, and so should be what `clock` tells, in seconds since 1970."""

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock

    def sign(self, versions: Mapping[str, Mapping[str, int]]) -> str:
        """A token for the first 16 entities."""
        kept: Versions = {}
        left = MOST_ENTITIES
        for service, entities in versions.items():
            some = dict(list(entities.items())[:left])
            left -= len(some)
            if some:
                kept[service] = some
        note = msgspec.msgpack.encode(_Note(int(self._clock()) + LIFE_SECONDS, kept))
        return base64.urlsafe_b64encode(self._mac(note) + note).rstrip(b"=").decode()

    def extend(self, earlier: str, versions: Mapping[str, Mapping[str, int]]) -> str | None:
        """A token for `versions`, and behind them for what an earlier token said; None for nothing at all."""
        known: Versions = {service: dict(entities) for service, entities in versions.items()}
        for service, entities in (self.read(earlier) if earlier else {}).items():
            into = known.setdefault(service, {})
            for entity, version in entities.items():
                into[entity] = max(version, into.get(entity, 0))
        return self.sign(known) if any(known.values()) else None

    def read(self, token: str) -> Versions:
        """Empty for a token that is forged, expired or none at all: a reader must not be refused for it."""
        if len(token) > _LONGEST:
            return {}
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            mac, note = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(note)):
                return {}
            found = _decode(note)
        except (ValueError, msgspec.MsgspecError):
            return {}
        return found.versions if 0 <= found.until - self._clock() <= LIFE_SECONDS + _CLOCKS_SECONDS else {}

    def _mac(self, note: bytes) -> bytes:
        return hmac.digest(self._key, b"fresh-after:" + note, hashlib.sha256)[:_MAC_BYTES]


def token_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token among a request's headers as ASGI gives them: the header's, else the cookie's."""
    from_cookie = None
    for name, value in headers:
        if name == b"fresh-after":
            return value.decode("latin-1")
        if name == b"cookie" and b"fresh-after=" in value:
            for piece in value.split(b";"):
                key, _, text = piece.strip().partition(b"=")
                if key == b"fresh-after":
                    from_cookie = text.decode("latin-1")
    return from_cookie


def token_headers(token: str, *, secure: bool) -> list[tuple[str, str]]:
    """The headers that hand a token out: one for programs, one cookie for browsers."""
    cookie = f"{COOKIE}={token}; Max-Age={LIFE_SECONDS}; Path=/; HttpOnly; SameSite=Strict"
    return [(HEADER, token), ("Set-Cookie", cookie + ("; Secure" if secure else ""))]
