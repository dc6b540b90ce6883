"""Every failure leaves as a problem document (RFC 9457)."""

from collections.abc import Mapping
from typing import Any, cast

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from ..errors import DomainError, FieldError, Problem, Unavailable, encode_problem
from .context import request_id

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_CODES = {
    400: ("invalid", "The request is not valid"),
    401: ("unauthorized", "A valid access token is needed"),
    404: ("not-found", "There is no such thing, or the caller may not see it"),
    405: ("method-not-allowed", "The method is not allowed here"),
    413: ("body-too-large", "The request body is too large"),
    415: ("unsupported-media-type", "The request body's media type is not supported"),
}
_TITLES: Mapping[int, str] = {
    400: "The request is not valid",
    401: "No token, or it has expired or is not ours",
    403: "The caller may not do this",
    404: "No such thing, or the caller may not see it",
    405: "The method is not allowed here",
    409: "The present state does not allow this, or it exists already",
    410: "It was there, and has expired",
    412: "The resource has changed since it was read",
    413: "The request body is too large",
    415: "The request body's media type is not supported",
    422: "The Idempotency-Key was used with another request",
    423: "Another request is at work on it",
    429: "Too many requests",
    460: "The bytes do not match their checksum",
    503: "A service that is needed gave no answer",
    507: "There is no room left",
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """For a handler's `responses`: the problem documents it may answer, with 400, 401, 403, 429 and 503 always."""
    return {
        status: ResponseSpec(
            Problem, media_type="application/problem+json", description=_TITLES[status], generate_examples=False
        )
        for status in sorted({400, 401, 403, 429, 503, *statuses})
    }


def _response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Response(
        encode_problem(problem),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def refused(request: Request[Any, Any, Any], error: DomainError) -> Response[bytes]:
    log.info("request_refused", code=error.code, status=error.status, detail=error.detail)
    return _response(error.problem(request_id.get()), error.headers)


def unavailable(request: Request[Any, Any, Any], error: Unavailable) -> Response[bytes]:
    log.warning("service_unavailable", service=error.service, reason=error.reason)
    problem = Problem(
        status=503,
        title="A service that is needed gave no answer",
        code="unavailable",
        detail=f"{error.service} is unavailable",
        request_id=request_id.get(),
        members={"service": error.service},
    )
    return _response(problem, {"Retry-After": str(max(1, round(error.retry_after)))})


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    code, title = _CODES.get(error.status_code, ("refused", "The request was refused"))
    if error.status_code >= 500 and "client disconnected" in error.detail:
        # Nobody reads this answer; the caller hung up while sending its body.
        log.info("caller_hung_up", method=request.method, path=request.url.path)
        return _response(Problem(status=400, title=title, code="invalid", request_id=request_id.get()))
    if error.status_code >= 500:
        return bug(request, error)
    log.info("request_refused", code=code, status=error.status_code, detail=error.detail)
    problem = Problem(
        status=error.status_code,
        title=title,
        code=code,
        detail=error.detail if error.status_code != 404 else "",
        request_id=request_id.get(),
        errors=_field_errors(error),
    )
    return _response(problem, error.headers)


def _field_errors(error: HTTPException) -> list[FieldError]:
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return []
    items = cast("list[dict[str, Any]]", [item for item in error.extra if isinstance(item, dict)])
    return [FieldError(field=str(item.get("key", "")), message=str(item.get("message", ""))) for item in items]


def bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    problem = Problem(status=500, title="Something went wrong here", code="internal-error", request_id=request_id.get())
    return _response(problem)
