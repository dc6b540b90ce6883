"""Asking a service: one HTTP client, one semaphore and one breaker per service, within the request's deadline."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from ..auth import Bearer
from ..contracts.common import Answer
from ..errors import DomainError, Invalid, Unavailable, decode_problem
from ..observability.tracing import inject, span
from .breaker import Breaker, RetryBudget
from .context import DEADLINE_HEADER, REQUEST_ID_HEADER, remaining_seconds, request_id

T = TypeVar("T")
OnAnswer = Callable[[str, Mapping[str, int], int | None], None]
"""Told of every answer: the service, the entities it shows with their versions, and its `seq` if it names one."""

_RESERVE_SECONDS = 0.02
_FAIR_SHARE = 0.25
"""A call given less of its timeout than this by an impatient caller proves nothing against the service."""
_TIMED_OUT = "it gave no answer in time"
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})


def _nobody(service: str, entities: Mapping[str, int], seq: int | None) -> None:
    pass


def path_of(template: str, *parts: object) -> str:
    """`path_of("/v1/devices/{}", id)`: every part percent-encoded, so none can leave its place."""
    return template.format(*(quote(str(part), safe="") for part in parts))


class ServiceClient:
    """`timeout` in seconds per read, `write_timeout` per write, cut to what remains of the request's deadline.

    `bearer` gives the token of calls that name none. Raises DomainError as the service refused, Unavailable when
    it gave no usable answer in time.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        bearer: Bearer | None = None,
        on_answer: OnAnswer = _nobody,
        on_unauthorized: Callable[[], None] | None = None,
        timeout: float = 2.0,
        write_timeout: float = 4.5,
        concurrency: int = 64,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.service = service
        self.breaker = breaker or Breaker()
        longest = max(timeout, write_timeout)
        self._http = httpx.AsyncClient(base_url=base_url, transport=transport or AiohttpTransport(), timeout=longest)
        self._bearer = bearer
        self._on_answer = on_answer
        self._on_unauthorized = on_unauthorized
        self._timeout = timeout
        self._write_timeout = longest
        self._slots = asyncio.Semaphore(concurrency)
        self._retries = RetryBudget()
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    async def close(self) -> None:
        await self._http.aclose()

    async def get(
        self, path: str, into: type[T], *, params: Mapping[str, Any] | None = None, bearer: Bearer | None = None
    ) -> T:
        return (await self.answer("GET", path, into, params=params, bearer=bearer)).data

    async def send(
        self,
        method: str,
        path: str,
        into: type[T],
        body: object = None,
        *,
        bearer: Bearer | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> T:
        headers: dict[str, str] = {}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        if if_match:
            headers["If-Match"] = if_match
        answer = await self.answer(method, path, into, body=body, bearer=bearer, headers=headers)
        return answer.data

    async def answer(
        self,
        method: str,
        path: str,
        into: type[T],
        *,
        params: Mapping[str, Any] | None = None,
        body: object = None,
        bearer: Bearer | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer[T]:
        """The service's answer with its entities, which `on_answer` has been told of, also when it is a refusal."""
        request = self._request(method, path, params, body, await self._headers(bearer, body is not None, headers))
        response = await self._exchange(request, retry=method in _IDEMPOTENT or "Idempotency-Key" in request.headers)
        if response.status_code >= 400:
            raise self._refusal(response, own=bearer is None)
        answer: Answer[T] = self._decode(response, into)
        self._on_answer(self.service, answer.entities, answer.seq)
        return answer

    def _request(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: object, headers: Mapping[str, str]
    ) -> httpx.Request:
        try:
            return self._http.build_request(
                method,
                path,
                params={name: value for name, value in (params or {}).items() if value is not None} or None,
                content=None if body is None else msgspec.json.encode(body),
                headers=headers,
            )
        except (httpx.InvalidURL, UnicodeError):
            raise Invalid("A parameter or header is too long, or has characters that it cannot have") from None

    async def _headers(self, bearer: Bearer | None, body: bool, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"Accept": "application/json", **(more or {})}
        if body:
            headers["Content-Type"] = "application/json"
        give = bearer or self._bearer
        if give and (token := await give()):
            headers["Authorization"] = f"Bearer {token}"
        if rid := request_id.get():
            headers[REQUEST_ID_HEADER] = rid
        return headers

    async def _exchange(self, request: httpx.Request, *, retry: bool) -> httpx.Response:
        self._retries.earn()
        try:
            return await self._once(request)
        except Unavailable as error:
            left = remaining_seconds()
            if not retry or (left is not None and left < 0.05) or self.breaker.state != "closed":
                raise
            if error.reason == _TIMED_OUT or not self._retries.spend():
                raise
        return await self._once(request)

    async def _once(self, request: httpx.Request) -> httpx.Response:
        most = self._timeout if request.method == "GET" else self._write_timeout
        allowed = _allowed(self.service, most)
        if not self.breaker.admits():
            raise Unavailable(self.service, "the breaker is open")
        started = time.monotonic()
        try:
            response = await self._within(allowed, request)
        except asyncio.CancelledError:
            self.breaker.abandon()
            raise
        except (TimeoutError, httpx.TimeoutException):
            if allowed < most * _FAIR_SHARE:
                self.breaker.abandon()
            else:
                self.breaker.record(ok=False, seconds=time.monotonic() - started)
            raise Unavailable(self.service, _TIMED_OUT) from None
        except httpx.HTTPError as error:
            self.breaker.record(ok=False, seconds=time.monotonic() - started)
            raise Unavailable(self.service, f"{type(error).__name__}: {error}") from error
        # A write may take long by its nature; only reads show that a service has become slow.
        seconds = time.monotonic() - started if request.method == "GET" else 0.0
        self.breaker.record(ok=response.status_code < 500, seconds=seconds)
        if response.status_code >= 500:
            raise Unavailable(self.service, f"it answered {response.status_code}")
        return response

    async def _within(self, seconds: float, request: httpx.Request) -> httpx.Response:
        async with asyncio.timeout(seconds) as limit, self._slots:
            self._stamp(request, limit)
            with span("http.client", service=self.service, method=request.method):
                inject(request.headers)
                return await self._http.send(request)

    def _stamp(self, request: httpx.Request, limit: asyncio.Timeout) -> None:
        if (when := limit.when()) is not None:
            left = when - asyncio.get_running_loop().time()
            request.headers[DEADLINE_HEADER] = str(max(1, int(left * 1000)))

    def _refusal(self, response: httpx.Response, *, own: bool) -> Exception:
        try:
            problem = decode_problem(response.content)
        except msgspec.MsgspecError:
            return Unavailable(self.service, f"it answered {response.status_code} without a problem document")
        if own and problem.status in (401, 403):
            if self._on_unauthorized:
                self._on_unauthorized()
            return Unavailable(self.service, f"it refused our own token: {problem.code}")
        if problem.entities:
            self._on_answer(self.service, problem.entities, None)
        error = DomainError.of(problem)
        if retry_after := response.headers.get("Retry-After"):
            error.headers["Retry-After"] = retry_after
        return error

    def _decode(self, response: httpx.Response, into: type[T]) -> Answer[T]:
        decoder = self._decoders.get(into)
        if decoder is None:
            decoder = self._decoders[into] = msgspec.json.Decoder(Answer[into])
        try:
            return decoder.decode(response.content)
        except msgspec.MsgspecError as error:
            raise Unavailable(self.service, f"its answer is not what its contract says: {error}") from error


def _allowed(service: str, most: float) -> float:
    """Seconds a call may take: `most`, or what is left of the request's deadline. Raises Unavailable."""
    left = remaining_seconds()
    if left is None:
        return most
    if left <= _RESERVE_SECONDS:
        raise Unavailable(service, "no time is left")
    return min(most, left - _RESERVE_SECONDS)
