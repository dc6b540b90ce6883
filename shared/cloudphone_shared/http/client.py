"""Asking a service: one HTTP client, one semaphore and one breaker per service, within the request's deadline."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from ..auth import Bearer
from ..contracts.common import Answer
from ..errors import DomainError, Invalid, Unavailable, decode_problem
from ..observability.tracing import inject, span
from .breaker import Breaker, RetryBudget
from .context import DEADLINE_HEADER, REQUEST_ID_HEADER, remaining_seconds, request_id
from .streams import Flow, whole
from .wire import Http11, Httpx, Reply, Wire, WireError

T = TypeVar("T")
OnAnswer = Callable[[str, Mapping[str, int], int | None], None]
"""Told of every answer: the service, the entities it shows with their versions, and its `seq` if it names one."""

_RESERVE_SECONDS = 0.02
_FAIR_SHARE = 0.25
"""A call given less of its timeout than this by an impatient caller proves nothing against the service."""
_TIMED_OUT = "it gave no answer in time"
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})


_FULL = 507
"""A refusal, though its status counts among the failures."""
_LONGEST_REFUSAL = 65_536
_LONGEST_TARGET = 65_536
_LONGEST_HEADER = 8_000
_UNSENDABLE = "A parameter or header is too long, or has characters that it cannot have"


def _nobody(service: str, entities: Mapping[str, int], seq: int | None) -> None:
    pass


def path_of(template: str, *parts: object) -> str:
    """`path_of("/v1/devices/{}", id)`: every part percent-encoded, so none can leave its place."""
    return template.format(*(quote(str(part), safe="") for part in parts))


def joined(ids: Sequence[object]) -> str:
    """Ids as a batch's query takes them."""
    return ",".join(map(str, ids))


class _Asked(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class ServiceClient:
    """`timeout` in seconds per read, `write_timeout` per write, cut to what remains of the request's deadline.

    `patience` in seconds per step of a transfer in pieces, of which there are `flows` at once at most.
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
        patience: float = 20.0,
        concurrency: int = 64,
        flows: int = 32,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.service = service
        self.breaker = breaker or Breaker()
        self._wire: Wire = Http11(base_url) if transport is None else Httpx(base_url, transport)
        self._bearer = bearer
        self._on_answer = on_answer
        self._on_unauthorized = on_unauthorized
        self._timeout = timeout
        self._write_timeout = max(timeout, write_timeout)
        self._patience = patience
        self._slots = asyncio.Semaphore(concurrency)
        self._flows = asyncio.Semaphore(flows)
        self._retries = RetryBudget()
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    async def close(self) -> None:
        await self._wire.close()

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
        asked = _Asked(
            method,
            _target(path, params),
            _checked(await self._headers(bearer, body is not None, headers)),
            None if body is None else msgspec.json.encode(body),
        )
        response = await self._exchange(asked, retry=method in _IDEMPOTENT or "Idempotency-Key" in asked.headers)
        if response.status >= 400:
            raise self._refusal(response, own=bearer is None)
        answer: Answer[T] = self._decode(response, into)
        self._on_answer(self.service, answer.entities, answer.seq)
        return answer

    async def octets(
        self, path: str, *, params: Mapping[str, Any] | None = None, bearer: Bearer | None = None, accept: str = "*/*"
    ) -> bytes:
        """What the service answers to a GET, as it is."""
        headers = _checked(await self._headers(bearer, False, {"Accept": accept}))
        response = await self._exchange(_Asked("GET", _target(path, params), headers, None), retry=True)
        if response.status >= 400:
            raise self._refusal(response, own=bearer is None)
        return response.body

    @asynccontextmanager
    async def flow(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: AsyncIterable[bytes] | None = None,
        bearer: Bearer | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Flow]:
        """A transfer in pieces, either way or both; it is not repeated. `headers` name the body's type and length.

        The request's deadline does not hold for it: each step has one of its own. What `body` raises rises.
        """
        sent = _checked(await self._headers(bearer, False, {"Accept": "*/*", **(headers or {})}))
        target = _target(path, params)
        async with AsyncExitStack() as stack:
            await self._enter_flow(stack)
            with span("http.client", service=self.service, method=method):
                inject(sent)
                flow = await self._begun(stack, method, target, sent, body)
                if flow.status >= 400:
                    refused = Reply(flow.status, await whole(flow, _LONGEST_REFUSAL), flow.headers.get("retry-after"))
                    raise self._failure(refused) or self._refusal(refused, own=bearer is None)
            yield _Flowing(self.service, flow)

    async def _enter_flow(self, stack: AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await stack.enter_async_context(self._flows)
        except TimeoutError:
            raise Unavailable(self.service, "too many transfers are under way") from None
        if not self.breaker.admits():
            raise Unavailable(self.service, "the breaker is open")

    async def _begun(
        self,
        stack: AsyncExitStack,
        method: str,
        target: str,
        headers: dict[str, str],
        body: AsyncIterable[bytes] | None,
    ) -> Flow:
        try:
            flow = await stack.enter_async_context(self._wire.flow(method, target, headers, body, self._patience))
        except TimeoutError:
            self.breaker.record(ok=False, seconds=0.0)
            raise Unavailable(self.service, _TIMED_OUT) from None
        except WireError as error:
            self.breaker.record(ok=False, seconds=0.0)
            raise Unavailable(self.service, str(error)) from error
        except BaseException:
            self.breaker.abandon()
            raise
        if flow.status < 500:
            self.breaker.record(ok=True, seconds=0.0)
        return flow

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

    async def _exchange(self, asked: _Asked, *, retry: bool) -> Reply:
        self._retries.earn()
        try:
            return await self._once(asked)
        except Unavailable as error:
            left = remaining_seconds()
            if not retry or (left is not None and left < 0.05) or self.breaker.state != "closed":
                raise
            if error.reason == _TIMED_OUT or error.service != self.service or not self._retries.spend():
                raise
        return await self._once(asked)

    async def _once(self, asked: _Asked) -> Reply:
        most = self._timeout if asked.method == "GET" else self._write_timeout
        allowed = _allowed(self.service, most)
        if not self.breaker.admits():
            raise Unavailable(self.service, "the breaker is open")
        started = time.monotonic()
        try:
            response = await self._within(allowed, asked)
        except asyncio.CancelledError:
            self.breaker.abandon()
            raise
        except TimeoutError:
            if allowed < most * _FAIR_SHARE:
                self.breaker.abandon()
            else:
                self.breaker.record(ok=False, seconds=time.monotonic() - started)
            raise Unavailable(self.service, _TIMED_OUT) from None
        except WireError as error:
            self.breaker.record(ok=False, seconds=time.monotonic() - started)
            raise Unavailable(self.service, str(error)) from error
        if (failure := self._failure(response)) is not None:
            raise failure
        # A write may take long by its nature; only reads show that a service has become slow.
        self.breaker.record(ok=True, seconds=time.monotonic() - started if asked.method == "GET" else 0.0)
        return response

    def _failure(self, response: Reply) -> Unavailable | None:
        """What an answer from 500 on means, told to the breaker. Who lacked another's answer lives itself."""
        if response.status < 500 or response.status == _FULL:
            return None
        beyond = _beyond(response)
        if beyond is None or beyond.service == self.service:
            self.breaker.record(ok=False, seconds=0.0)
            return Unavailable(self.service, f"it answered {response.status}")
        self.breaker.record(ok=True, seconds=0.0)
        return beyond

    async def _within(self, seconds: float, asked: _Asked) -> Reply:
        async with asyncio.timeout(seconds) as limit, self._slots:
            if (when := limit.when()) is not None:
                left = when - asyncio.get_running_loop().time()
                asked.headers[DEADLINE_HEADER] = str(max(1, int(left * 1000)))
            with span("http.client", service=self.service, method=asked.method):
                inject(asked.headers)
                return await self._wire.exchange(*asked)

    def _refusal(self, response: Reply, *, own: bool) -> Exception:
        try:
            problem = decode_problem(response.body)
        except msgspec.MsgspecError:
            return Unavailable(self.service, f"it answered {response.status} without a problem document")
        if own and problem.status in (401, 403):
            if self._on_unauthorized:
                self._on_unauthorized()
            return Unavailable(self.service, f"it refused our own token: {problem.code}")
        if problem.entities:
            self._on_answer(self.service, problem.entities, None)
        error = DomainError.of(problem)
        if response.retry_after:
            error.headers["Retry-After"] = response.retry_after
        return error

    def _decode(self, response: Reply, into: type[T]) -> Answer[T]:
        decoder = self._decoders.get(into)
        if decoder is None:
            decoder = self._decoders[into] = msgspec.json.Decoder(Answer[into])
        try:
            return decoder.decode(response.body)
        except msgspec.MsgspecError as error:
            raise Unavailable(self.service, f"its answer is not what its contract says: {error}") from error


class _Flowing:
    """A transfer that has begun: what goes wrong from here on is said as everywhere."""

    def __init__(self, service: str, flow: Flow) -> None:
        self._service, self._flow = service, flow
        self.status, self.headers = flow.status, flow.headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Raises Unavailable."""
        try:
            async for piece in self._flow.pieces():
                yield piece
        except TimeoutError:
            raise Unavailable(self._service, _TIMED_OUT) from None
        except WireError as error:
            raise Unavailable(self._service, str(error)) from error


def _beyond(response: Reply) -> Unavailable | None:
    """Who it was that gave the service no answer, where it says so."""
    try:
        problem = decode_problem(response.body)
    except msgspec.MsgspecError:
        return None
    named: object = problem.members.get("service")
    if problem.status != 503 or not isinstance(named, str):
        return None
    wait = response.retry_after
    return Unavailable(named, problem.detail, retry_after=float(wait) if wait and wait.isdigit() else 1.0)


def _target(path: str, params: Mapping[str, Any] | None) -> str:
    given = [(name, value) for name, value in (params or {}).items() if value is not None]
    if not given:
        return path
    try:
        # Commas part a batch's ids, and stand for themselves.
        target = f"{path}?{urlencode(given, safe=',')}"
    except UnicodeError:
        raise Invalid(_UNSENDABLE) from None
    if len(target) > _LONGEST_TARGET:
        raise Invalid(_UNSENDABLE)
    return target


def _checked(headers: dict[str, str]) -> dict[str, str]:
    for value in headers.values():
        if not (value.isascii() and value.isprintable()) or len(value) > _LONGEST_HEADER:
            raise Invalid(_UNSENDABLE)
    return headers


def _allowed(service: str, most: float) -> float:
    """Seconds a call may take: `most`, or what is left of the request's deadline. Raises Unavailable."""
    left = remaining_seconds()
    if left is None:
        return most
    if left <= _RESERVE_SECONDS:
        raise Unavailable(service, "no time is left")
    return min(most, left - _RESERVE_SECONDS)
