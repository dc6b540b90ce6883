"""Asking a service: deadlines, retries, the breaker, refusals raised again, and our own token refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest

from cloudphone_shared.auth import anonymous
from cloudphone_shared.clients.user import UserClient
from cloudphone_shared.contracts.common import Contract
from cloudphone_shared.contracts.user import Credentials, RefreshRequest
from cloudphone_shared.errors import (
    AccountSuspended,
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    InvalidCredentials,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    StateConflict,
    Unauthorized,
    Unavailable,
    encode_problem,
)
from cloudphone_shared.http.breaker import Breaker, RetryBudget
from cloudphone_shared.http.client import ServiceClient, path_of
from cloudphone_shared.http.context import DEADLINE_HEADER, REQUEST_ID_HEADER, deadline, request_id

pytestmark = pytest.mark.anyio

Reply = Callable[[httpx.Request], httpx.Response]


class Thing(Contract, frozen=True, kw_only=True):
    name: str


def thing(request: httpx.Request, name: str = "a phone", **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": {"name": name}, "entities": {"thing:1": 7}, **more})


def refusing(error: DomainError) -> Reply:
    return lambda request: httpx.Response(
        error.status, content=encode_problem(error.problem("r")), headers=error.headers
    )


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody is listening", request=request)


class Service:
    """Plays a service: `reply` answers every request, after `delay` seconds; `heard` keeps them."""

    def __init__(self) -> None:
        self.reply: Reply = thing
        self.delay = 0.0
        self.heard: list[httpx.Request] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            return self.reply(request)
        finally:
            self.at_once -= 1


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def make(service: Service) -> AsyncIterator[Callable[..., ServiceClient]]:
    made: list[ServiceClient] = []

    def client(**options: Any) -> ServiceClient:
        options = {"transport": httpx.MockTransport(service), "timeout": 60.0, **options}
        made.append(ServiceClient("things", "http://things.test", **options))
        return made[-1]

    yield client
    for one in made:
        await one.close()


async def test_an_answer_is_decoded_and_its_entities_are_told(make: Callable[..., ServiceClient]) -> None:
    told: list[tuple[str, Mapping[str, int], int | None]] = []
    client = make(on_answer=lambda *answer: told.append(answer))

    assert await client.get("/v1/things/1", Thing) == Thing(name="a phone")
    assert told == [("things", {"thing:1": 7}, None)]


async def test_the_entities_of_a_refusal_are_told_too(service: Service, make: Callable[..., ServiceClient]) -> None:
    told: list[Mapping[str, int]] = []
    service.reply = refusing(NotFound(entities={"thing:1": 0}))

    with pytest.raises(NotFound):
        await make(on_answer=lambda _, entities, seq: told.append(entities)).get("/v1/things/1", Thing)

    assert told == [{"thing:1": 0}]


async def test_an_unknown_field_of_an_answer_is_ignored(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.reply = lambda request: httpx.Response(
        200, json={"data": {"name": "a", "colour": "red"}, "entities": {}, "later": 1}
    )

    assert await make().get("/v1/things/1", Thing) == Thing(name="a")


async def test_what_remains_of_the_deadline_is_passed_on(service: Service, make: Callable[..., ServiceClient]) -> None:
    token, named = deadline.set(time.monotonic() + 50), request_id.set("request-1234")
    try:
        await make().get("/v1/things/1", Thing)
    finally:
        deadline.reset(token)
        request_id.reset(named)

    assert 30_000 <= int(service.heard[0].headers[DEADLINE_HEADER]) <= 49_980
    assert service.heard[0].headers[REQUEST_ID_HEADER] == "request-1234"


async def test_without_a_deadline_the_own_timeout_is_passed_on(
    service: Service, make: Callable[..., ServiceClient]
) -> None:
    await make(timeout=40.0).get("/v1/things/1", Thing)

    assert 20_000 <= int(service.heard[0].headers[DEADLINE_HEADER]) <= 40_000


async def test_a_call_ends_with_the_deadline(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.delay = 60
    token = deadline.set(time.monotonic() + 0.2)
    started = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            await make().get("/v1/things/1", Thing)
    finally:
        deadline.reset(token)

    assert time.monotonic() - started < 30


async def test_with_no_time_left_nothing_is_asked(service: Service, make: Callable[..., ServiceClient]) -> None:
    token = deadline.set(time.monotonic() + 0.01)
    try:
        with pytest.raises(Unavailable, match="no time"):
            await make().get("/v1/things/1", Thing)
    finally:
        deadline.reset(token)

    assert service.heard == []


@pytest.mark.parametrize(
    ("method", "key", "asked"),
    [
        ("GET", None, 2),
        ("PUT", None, 2),
        ("DELETE", None, 2),
        ("POST", None, 1),
        ("POST", "once", 2),
        ("PATCH", None, 1),
    ],
)
async def test_only_what_may_be_repeated_is_asked_once_more(
    method: str, key: str | None, asked: int, service: Service, make: Callable[..., ServiceClient]
) -> None:
    service.reply = broken

    with pytest.raises(Unavailable):
        await make().send(method, "/v1/things", Thing, {"name": "x"}, idempotency_key=key)

    assert len(service.heard) == asked
    assert {request.content for request in service.heard} == {b'{"name":"x"}'}


async def test_one_failure_is_made_good_by_the_retry(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.reply = lambda request: thing(request) if len(service.heard) > 1 else httpx.Response(503)

    assert await make().get("/v1/things/1", Thing) == Thing(name="a phone")


async def test_retries_do_not_multiply_an_outage(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.reply = broken
    client = make(breaker=Breaker(least=1000))

    for _ in range(100):
        with pytest.raises(Unavailable):
            await client.get("/v1/things/1", Thing)

    assert 100 < len(service.heard) <= 121


async def test_the_breaker_opens_and_closes_again(service: Service, make: Callable[..., ServiceClient]) -> None:
    now = 0.0
    client = make(breaker=Breaker(least=5, rest=1.0, clock=lambda: now))
    service.reply = broken
    for _ in range(5):
        with pytest.raises(Unavailable):
            await client.get("/v1/things/1", Thing)
    asked = len(service.heard)

    with pytest.raises(Unavailable, match="breaker"):
        await client.get("/v1/things/1", Thing)
    assert len(service.heard) == asked

    now, service.reply = 1.5, thing
    assert await client.get("/v1/things/1", Thing) == Thing(name="a phone")
    assert client.breaker.state == "closed"


async def test_refusals_do_not_open_the_breaker(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.reply = refusing(NotFound())
    client = make(breaker=Breaker(least=5))

    for _ in range(20):
        with pytest.raises(NotFound):
            await client.get("/v1/things/1", Thing)

    assert client.breaker.state == "closed"


async def test_impatient_callers_do_not_open_the_breaker(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.delay = 0.1
    client = make(breaker=Breaker(least=5, slow=60))
    for _ in range(10):
        token = deadline.set(time.monotonic() + 0.05)
        try:
            with pytest.raises(Unavailable):
                await client.get("/v1/things/1", Thing)
        finally:
            deadline.reset(token)

    assert await client.get("/v1/things/1", Thing) == Thing(name="a phone")


async def test_a_slow_service_opens_the_breaker(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.delay = 0.05
    client = make(breaker=Breaker(least=5, slow=0.01))

    for _ in range(5):
        await client.get("/v1/things/1", Thing)

    assert client.breaker.state == "open"


async def test_no_more_calls_are_under_way_than_allowed(service: Service, make: Callable[..., ServiceClient]) -> None:
    service.delay = 0.01
    client = make(concurrency=3)

    await asyncio.gather(*(client.get("/v1/things/1", Thing) for _ in range(12)))

    assert service.most_at_once == 3


@pytest.mark.parametrize(
    "error",
    [
        NotFound("none", entities={"thing:1": 4}),
        StateConflict("busy", current_state="running", allowed=["stopping"]),
        Conflict("no"),
        PreconditionFailed("changed", current='"v8"'),
        AccountSuspended(),
        Forbidden("no", permission="things:write"),
        Unauthorized("expired"),
        LimitExceeded("slowly", retryAfterSeconds=7, headers={"Retry-After": "7"}),
    ],
)
async def test_a_refusal_is_raised_again_as_it_was(
    error: DomainError, service: Service, make: Callable[..., ServiceClient]
) -> None:
    service.reply = refusing(error)

    with pytest.raises(DomainError) as raised:
        await make().get("/v1/things/1", Thing, bearer=anonymous)

    again = raised.value
    assert type(again) is type(error)
    assert (again.detail, again.entities, again.members) == (error.detail, error.entities, error.members)
    assert again.headers == error.headers


async def test_a_refusal_of_an_unknown_kind_is_raised_by_its_status(
    service: Service, make: Callable[..., ServiceClient]
) -> None:
    body = {"status": 409, "title": "Out of phones", "code": "out-of-phones", "detail": "none left"}
    service.reply = lambda request: httpx.Response(409, json=body)

    with pytest.raises(Conflict, match="none left"):
        await make().get("/v1/things/1", Thing)


@pytest.mark.parametrize("error", [Unauthorized(), Forbidden()])
async def test_our_own_token_refused_is_no_refusal_of_the_caller(
    error: DomainError, service: Service, make: Callable[..., ServiceClient]
) -> None:
    forgotten: list[bool] = []

    async def own() -> str:
        return "own-token"

    client = make(bearer=own, on_unauthorized=lambda: forgotten.append(True))
    service.reply = refusing(error)

    with pytest.raises(Unavailable, match="own token"):
        await client.get("/v1/things/1", Thing)
    assert forgotten == [True]
    assert service.heard[0].headers["Authorization"] == "Bearer own-token"


async def test_a_wrong_password_is_the_users_and_not_our_tokens_fault(
    service: Service, make: Callable[..., ServiceClient]
) -> None:
    async def own() -> str:
        raise Unavailable("user", "no token")

    users = UserClient(make(bearer=own))
    service.reply = refusing(InvalidCredentials())
    with pytest.raises(InvalidCredentials):
        await users.login(Credentials(email="a@b.cc", password="x"))
    service.reply = refusing(Unauthorized("The session was closed"))
    with pytest.raises(Unauthorized):
        await users.refresh(RefreshRequest(refresh_token="x"))

    assert all("Authorization" not in request.headers for request in service.heard)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b"not json"),
        httpx.Response(200, json={"data": {"name": 7}, "entities": {}}),
        httpx.Response(200, json={"name": "a"}),
        httpx.Response(404, content=b"<html>no such page</html>"),
        httpx.Response(500, json={"status": 500, "title": "x", "code": "internal-error"}),
    ],
)
async def test_an_answer_that_is_none_means_unavailable(
    response: httpx.Response, service: Service, make: Callable[..., ServiceClient]
) -> None:
    service.reply = lambda request: httpx.Response(response.status_code, content=response.content)

    with pytest.raises(Unavailable):
        await make().get("/v1/things/1", Thing)


async def test_a_header_or_parameter_that_cannot_be_sent_is_the_callers_fault(
    make: Callable[..., ServiceClient],
) -> None:
    with pytest.raises(Invalid):
        await make().send("PATCH", "/v1/things/1", Thing, {}, if_match='"vé"')
    with pytest.raises(Invalid):
        await make().get("/v1/things", Thing, params={"cursor": "x" * 70_000})


async def test_parameters_left_out_are_not_sent(service: Service, make: Callable[..., ServiceClient]) -> None:
    await make().get("/v1/things", Thing, params={"limit": 5, "cursor": None})

    assert str(service.heard[0].url) == "http://things.test/v1/things?limit=5"


def test_a_part_of_a_path_cannot_leave_its_place() -> None:
    assert path_of("/v1/things/{}", "../secrets?x=1") == "/v1/things/..%2Fsecrets%3Fx%3D1"


def test_of_many_calls_one_probes_a_half_open_breaker() -> None:
    now = 0.0
    breaker = Breaker(least=1, rest=1.0, clock=lambda: now)
    breaker.record(ok=False, seconds=0)
    now = 1.1

    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.record(ok=False, seconds=0)
    now = 2.2
    assert not breaker.admits()
    now = 3.2
    assert breaker.admits()


def test_a_cancelled_probe_lets_another_one_out() -> None:
    now = 0.0
    breaker = Breaker(least=1, rest=1.0, clock=lambda: now)
    breaker.record(ok=False, seconds=0)
    now = 1.1
    assert breaker.admits()

    breaker.abandon()

    assert breaker.admits()


def test_old_failures_are_forgotten() -> None:
    now = 0.0
    breaker = Breaker(least=4, window=10.0, clock=lambda: now)
    for _ in range(3):
        breaker.record(ok=False, seconds=0)
    now = 11.0
    for _ in range(4):
        breaker.record(ok=True, seconds=0)
    breaker.record(ok=False, seconds=0)

    assert breaker.state == "closed"


def test_a_retry_budget_is_earned_by_calls() -> None:
    budget = RetryBudget(share=0.5, most=2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]

    budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()


def test_problems_survive_the_way_there_and_back() -> None:
    error = StateConflict("busy", current_state="running", allowed=["stopping"])
    document = msgspec.json.decode(encode_problem(error.problem("request-1")))

    assert document["current_state"] == "running"
    assert (document["status"], document["code"], document["requestId"]) == (409, "state-conflict", "request-1")
