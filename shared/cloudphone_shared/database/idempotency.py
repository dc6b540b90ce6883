"""Idempotency-Key: a request repeated with its key gets the first one's answer, and has no second effect.

The answer is stored in the transaction of the effect, under an advisory lock: a process killed half-way leaves neither.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from litestar import Response
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import FieldError, IdempotencyKeyReused, Invalid, RequestInFlight
from .engine import Database
from .tables import in_schema

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")

_LOCK = """
SELECT pg_try_advisory_xact_lock(
    hashtextextended('{schema}.idempotency ' || CAST(:tenant_id AS text) || ' ' || CAST(:key AS text), 0)
)
"""
_FIND = """
SELECT request_hash, status, CAST(headers AS text), response FROM {schema}.idempotency_keys
WHERE tenant_id = :tenant_id AND key = :key AND expires_at > clock_timestamp()
"""
_STORE = """
INSERT INTO {schema}.idempotency_keys (tenant_id, key, request_hash, status, headers, response, expires_at)
VALUES (:tenant_id, :key, :request_hash, :status, CAST(CAST(:headers AS text) AS json), :response,
        clock_timestamp() + interval '24 hours')
ON CONFLICT (tenant_id, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
    headers = excluded.headers, response = excluded.response, expires_at = excluded.expires_at
"""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is stored: `body` is JSON."""

    status: int
    body: bytes
    headers: dict[str, str] = {}

    @staticmethod
    def of(answer: object, *, status: int = 201, headers: Mapping[str, str] | None = None) -> "Reply":
        return Reply(status=status, body=msgspec.json.encode(answer), headers=dict(headers or {}))

    def response(self) -> Response[Any]:
        return Response(self.body, status_code=self.status, headers=self.headers, media_type="application/json")


def request_hash(caller_id: str, method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same one. The caller belongs to it: nobody is given another's answer."""
    return hashlib.sha256(b"\0".join([caller_id.encode(), method.encode(), path.encode(), body])).digest()


def check_key(key: str) -> None:
    """Raises Invalid for a malformed one."""
    if not _KEY.match(key):
        message = "must be 1 to 255 visible ASCII characters"
        raise Invalid(f"{IDEMPOTENCY_KEY} {message}", errors=[FieldError(field=IDEMPOTENCY_KEY, message=message)])


async def idempotent(
    database: Database,
    tenant_id: str,
    key: str | None,
    request_hash: bytes,
    produce: Callable[[AsyncSession], Awaitable[Reply]],
) -> Reply:
    """Runs `produce` in one writing session, once per key within 24 hours; a repetition gets its stored reply.

    A refusal is not stored: the request may be sent again. Without a key `produce` just runs.
    Raises Invalid for a malformed key, IdempotencyKeyReused, RequestInFlight.
    """
    if key is None:
        async with database.writing() as session:
            return await produce(session)
    check_key(key)
    place = {"tenant_id": tenant_id, "key": key}
    async with database.writing() as session:
        if not (await session.execute(in_schema(_LOCK, database.schema), place)).scalar_one():
            raise RequestInFlight(headers={"Retry-After": "1"})
        # A statement of its own: its snapshot is later than the lock, so it sees what the lock's last holder stored.
        stored = (await session.execute(in_schema(_FIND, database.schema), place)).one_or_none()
        if stored is not None:
            return _replay(stored, request_hash)
        reply = await produce(session)
        fields = {
            "status": reply.status,
            "response": reply.body,
            "headers": msgspec.json.encode(reply.headers).decode(),
        }
        await session.execute(in_schema(_STORE, database.schema), {**place, **fields, "request_hash": request_hash})
        return reply


def _replay(stored: Any, request_hash: bytes) -> Reply:
    known_hash, status, headers, body = stored
    if known_hash != request_hash:
        raise IdempotencyKeyReused
    return Reply(status=status, body=body, headers={**msgspec.json.decode(headers), REPLAYED: "true"})
