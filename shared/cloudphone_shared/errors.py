"""The three kinds of failure: refused (`DomainError`), no answer (`Unavailable`), and bugs, which rise.

A refusal is raised by its service, rendered once as a problem document (RFC 9457), and raised again by the caller's
client as the same class.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`field` is the JSON path of what is wrong, as the caller spelt it."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """RFC 9457, with `code` (stable, for programs), `requestId` and the facts a refusal carries."""

    status: int
    title: str
    code: str
    type: str = "about:blank"
    detail: str = ""
    request_id: str = ""
    errors: list[FieldError] = []
    entities: dict[str, int] = {}
    members: dict[str, Any] = {}
    """The refusal's own facts; top-level members of the document."""


def encode_problem(problem: Problem) -> bytes:
    document = msgspec.to_builtins(problem)
    return msgspec.json.encode({**document.pop("members", {}), **document})


def decode_problem(document: bytes) -> Problem:
    """Raises msgspec.MsgspecError when `document` is not a problem document."""
    fields = msgspec.json.decode(document, type=dict[str, Any])
    members = {name: fields.pop(name) for name in list(fields) if name not in _PROBLEM_FIELDS}
    return msgspec.convert({**fields, "members": members}, Problem)


_PROBLEM_FIELDS = frozenset(Problem.__struct_encode_fields__) - {"members"}


class DomainError(Exception):
    """Understood and refused. `members` are facts a program can use; `entities` what the refusal hangs on."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The request was refused"
    _by_code: ClassVar[dict[str, type["DomainError"]]] = {}

    def __init_subclass__(cls) -> None:
        DomainError._by_code.setdefault(cls.code, cls)

    def __init__(
        self,
        detail: str = "",
        *,
        entities: Mapping[str, int] | None = None,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.entities = dict(entities or {})
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.members = members

    def problem(self, request_id: str = "") -> Problem:
        return Problem(
            status=self.status,
            title=self.title,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
            entities=self.entities,
            members=self.members,
        )

    @staticmethod
    def of(problem: Problem) -> "DomainError":
        """The refusal that a service rendered as `problem`; by status where its code is not known here."""
        cls = DomainError._by_code.get(problem.code) or _BY_STATUS.get(problem.status, Invalid)
        return cls(problem.detail, entities=problem.entities, errors=problem.errors, **problem.members)


class Invalid(DomainError):
    status = 400
    code = "invalid"
    title = "The request is not valid"


class InvalidCursor(Invalid):
    code = "invalid-cursor"
    title = "The cursor is not one of ours, or is of another list"


class Unauthorized(DomainError):
    status = 401
    code = "unauthorized"
    title = "A valid access token is needed"


class InvalidCredentials(Unauthorized):
    code = "invalid-credentials"
    title = "The e-mail address or the password is wrong"


class TokenReused(Unauthorized):
    code = "refresh-token-reused"
    title = "The refresh token was used before; the session is closed"


class AccountSuspended(DomainError):
    status = 403
    code = "account-suspended"
    title = "The account is suspended"


class Forbidden(DomainError):
    status = 403
    code = "forbidden"
    title = "The caller may not do this"


class NotFound(DomainError):
    status = 404
    code = "not-found"
    title = "There is no such thing, or the caller may not see it"


class MethodNotAllowed(DomainError):
    status = 405
    code = "method-not-allowed"
    title = "The method is not allowed here"


class Conflict(DomainError):
    status = 409
    code = "conflict"
    title = "The request contradicts the present state"


class StateConflict(Conflict):
    """`current_state` and `allowed` say what would have been possible."""

    code = "state-conflict"
    title = "The present state does not allow this"


class AlreadyExists(Conflict):
    code = "already-exists"
    title = "Something with this identity exists already"


class RequestInFlight(Conflict):
    code = "request-in-flight"
    title = "A request with this Idempotency-Key is being carried out"


class InsufficientFunds(Conflict):
    """`available`, `needed` (minor units) and `currency` say by how much."""

    code = "insufficient-funds"
    title = "The wallet does not hold enough"


class PaymentRefused(Conflict):
    """`reason` is the provider's code."""

    code = "payment-refused"
    title = "The payment was refused"


class QuotaExceeded(Conflict):
    """`resource`, `limit` and `used` say of what."""

    code = "quota-exceeded"
    title = "The quota does not allow more"


class PreconditionFailed(DomainError):
    status = 412
    code = "precondition-failed"
    title = "The resource has changed since it was read"


class BodyTooLarge(DomainError):
    status = 413
    code = "body-too-large"
    title = "The request body is too large"


class UnsupportedMediaType(DomainError):
    status = 415
    code = "unsupported-media-type"
    title = "The request body's media type is not supported"


class IdempotencyKeyReused(DomainError):
    status = 422
    code = "idempotency-key-reused"
    title = "The Idempotency-Key was used with another request"


class LimitExceeded(DomainError):
    status = 429
    code = "limit-exceeded"
    title = "Too many requests"


_BY_STATUS: dict[int, type[DomainError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: PreconditionFailed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
    422: IdempotencyKeyReused,
    429: LimitExceeded,
}


class Unavailable(Exception):
    """No answer from `service`: retry within the deadline, or serve the last good view."""

    def __init__(self, service: str, reason: str, *, retry_after: float = 1.0) -> None:
        super().__init__(f"{service} is unavailable: {reason}")
        self.service = service
        self.reason = reason
        self.retry_after = retry_after
