"""What every request passes before its handler, and how every failure leaves."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from litestar.types import Scope

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Name, Request
from cloudphone_shared.errors import LimitExceeded, NotFound, Unavailable
from cloudphone_shared.http.app import PUBLIC, create_app, requires
from cloudphone_shared.http.context import DEADLINE_HEADER, REQUEST_ID_HEADER, deadline, remaining_seconds, request_id
from tests.conditions import eventually
from tests.signing import Signer, client_of

pytestmark = pytest.mark.anyio


class Wish(Request, frozen=True, kw_only=True):
    name: Name


@get("/whoami")
async def whoami(caller: NamedDependency[Caller]) -> dict[str, str]:
    return {"id": caller.id, "role": caller.role}


@get("/open", opt=PUBLIC)
async def public() -> dict[str, Any]:
    return {"requestId": request_id.get(), "left": remaining_seconds()}


@get("/guarded", guards=[requires("devices:manage")])
async def guarded() -> None:
    pass


@post("/wishes", opt=PUBLIC)
async def wish(data: JSONBody[Wish]) -> Wish:
    return data


@get("/listed", opt=PUBLIC)
async def listed(limit: Annotated[int, QueryParameter(ge=1, le=10)] = 5) -> int:
    return limit


@get("/refused", opt=PUBLIC)
async def refused() -> None:
    raise NotFound("none", entities={"thing:1": 3}, nearest="thing:2")


@get("/away", opt=PUBLIC)
async def away() -> None:
    raise Unavailable("billing", "it is asleep", retry_after=3)


@get("/bug", opt=PUBLIC)
async def bug() -> None:
    raise RuntimeError("a secret of the inside")


ROUTES = [whoami, public, guarded, wish, listed, refused, away, bug]


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def http(signer: Signer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("test", ROUTES, verifier=signer.verifier(), body_limit_bytes=1000)
    async with client_of(app) as client:
        yield client


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["requestId"] == answer.headers[REQUEST_ID_HEADER]
    return problem


async def test_a_callers_token_says_who_calls(http: httpx.AsyncClient, signer: Signer) -> None:
    answer = await http.get("/whoami", headers=signer.headers(id="ana", role="customer"))

    assert answer.json() == {"id": "ana", "role": "customer"}


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic abc"])
async def test_without_a_good_token_a_route_is_closed(header: str | None, http: httpx.AsyncClient) -> None:
    headers = {"Authorization": header} if header else {}

    check_problem(await http.get("/whoami", headers=headers), 401, "unauthorized")


async def test_a_public_route_does_not_mind_a_bad_token(http: httpx.AsyncClient) -> None:
    assert (await http.get("/open", headers={"Authorization": "Bearer nonsense"})).status_code == 200


async def test_while_no_key_can_be_had_the_answer_is_try_again(signer: Signer) -> None:
    headers = signer.headers()
    signer.away = True
    async with client_of(create_app("test", ROUTES, verifier=signer.verifier())) as http:
        problem = check_problem(await http.get("/whoami", headers=headers), 503, "unavailable")
        assert problem["service"] == "user"
        assert (await http.get("/open", headers=headers)).status_code == 200


async def test_who_has_started_knows_the_keys_before_it_is_asked(http: httpx.AsyncClient, signer: Signer) -> None:
    headers = signer.headers()
    await eventually(lambda: signer.fetched > 0)
    signer.away = True
    assert (await http.get("/whoami", headers=headers)).status_code == 200


async def test_a_missing_permission_is_named(http: httpx.AsyncClient, signer: Signer) -> None:
    problem = check_problem(await http.get("/guarded", headers=signer.headers(role="support")), 403, "forbidden")

    assert problem["permission"] == "devices:manage"
    assert (await http.get("/guarded", headers=signer.headers(role="admin"))).status_code == 200


async def test_a_closed_session_is_refused(signer: Signer) -> None:
    closed: set[str] = set()
    app = create_app(
        "test", ROUTES, verifier=signer.verifier(), still_valid=lambda caller: caller.sessions_version not in closed
    )
    headers = signer.headers(sessions=7)
    async with client_of(app) as http:
        assert (await http.get("/whoami", headers=headers)).status_code == 200
        closed.add(7)  # type: ignore[arg-type]
        check_problem(await http.get("/whoami", headers=headers), 401, "unauthorized")


async def test_a_caller_over_the_limit_is_refused_before_the_route(signer: Signer) -> None:
    counted: list[str] = []

    async def admit(caller: Caller, scope: Scope) -> None:
        counted.append(caller.id)
        if len(counted) > 1:
            raise LimitExceeded(retryAfterSeconds=2, headers={"Retry-After": "2"})

    app = create_app("test", ROUTES, verifier=signer.verifier(), admit=admit)
    async with client_of(app) as http:
        headers = signer.headers(id="ana")
        assert (await http.get("/whoami", headers=headers)).status_code == 200
        answer = await http.get("/whoami", headers=headers)
        assert (await http.get("/open")).status_code == 200

    check_problem(answer, 429, "limit-exceeded")
    assert answer.headers["Retry-After"] == "2"
    assert counted == ["ana", "ana"]


async def test_a_request_keeps_the_id_it_came_with(http: httpx.AsyncClient) -> None:
    answer = await http.get("/open", headers={REQUEST_ID_HEADER: "from-the-caller-1"})

    assert answer.json()["requestId"] == answer.headers[REQUEST_ID_HEADER] == "from-the-caller-1"


@pytest.mark.parametrize("given", ["short", "with blanks and more", "x" * 65, 'quo"ted-quoted', "line\tbreak"])
async def test_an_id_that_could_confuse_a_log_is_replaced(given: str, http: httpx.AsyncClient) -> None:
    answer = await http.get("/open", headers={REQUEST_ID_HEADER: given})

    assert answer.headers[REQUEST_ID_HEADER] != given
    assert len(answer.headers[REQUEST_ID_HEADER]) == 32


@pytest.mark.parametrize(("header", "most"), [("200", 0.2), (None, 5), ("999999", 5), ("-1", 5), ("soon", 5), ("²", 5)])
async def test_a_request_has_the_time_its_caller_has_and_five_seconds_at_most(
    header: str | None, most: float, http: httpx.AsyncClient
) -> None:
    asked = time.monotonic()
    answer = await http.get("/open", headers={DEADLINE_HEADER: header.encode()} if header else {})

    assert most - (time.monotonic() - asked) <= answer.json()["left"] <= most


async def test_an_app_called_in_process_gives_its_callers_deadline_back(http: httpx.AsyncClient) -> None:
    before = time.monotonic() + 60
    at, named = deadline.set(before), request_id.set("outer-request")

    await http.get("/open")
    await http.get("/bug")

    assert (deadline.get(), request_id.get()) == (before, "outer-request")
    deadline.reset(at)
    request_id.reset(named)


async def test_requests_at_once_do_not_share_their_ids(http: httpx.AsyncClient) -> None:
    names = [f"request-{n:04}" for n in range(20)]

    answers = await asyncio.gather(*(http.get("/open", headers={REQUEST_ID_HEADER: name}) for name in names))

    assert [answer.json()["requestId"] for answer in answers] == names


async def test_a_refusal_leaves_with_its_entities_and_facts(http: httpx.AsyncClient) -> None:
    problem = check_problem(await http.get("/refused"), 404, "not-found")

    assert (problem["detail"], problem["entities"], problem["nearest"]) == ("none", {"thing:1": 3}, "thing:2")


async def test_an_outage_leaves_with_when_to_come_back(http: httpx.AsyncClient) -> None:
    answer = await http.get("/away")

    check_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "3"
    assert "asleep" not in answer.text


async def test_a_bug_tells_nothing_of_the_inside(http: httpx.AsyncClient) -> None:
    answer = await http.get("/bug")

    check_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("DELETE", "/open", 405, "method-not-allowed"),
        ("GET", "/listed?limit=x", 400, "invalid"),
        ("GET", "/listed?limit=11", 400, "invalid"),
        ("GET", "/listed?limit=%00", 400, "invalid"),
        ("GET", "/open%00", 400, "invalid"),
        ("GET", "/%ff%fe", 404, "not-found"),
    ],
)
async def test_a_wrong_request_is_a_problem_document(
    method: str, path: str, status: int, code: str, http: httpx.AsyncClient
) -> None:
    check_problem(await http.request(method, path), status, code)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'{"name": 7}', 400),
        (b'{"name": "x", "nmae": "y"}', 400),
        (b'{"name": "a\\u0000b"}', 400),
        (b'{"name": "\\ud800"}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 900, 400),
        (b'{"name": "' + b"x" * 2000 + b'"}', 413),
    ],
)
async def test_a_wrong_body_is_a_problem_document(body: bytes, status: int, http: httpx.AsyncClient) -> None:
    answer = await http.post("/wishes", content=body, headers={"Content-Type": "application/json"})

    check_problem(answer, status, "body-too-large" if status == 413 else "invalid")


async def test_a_wrong_field_is_named(http: httpx.AsyncClient) -> None:
    problem = check_problem(await http.post("/wishes", json={"name": 7}), 400, "invalid")

    assert [error["field"] for error in problem["errors"]] == ["name"]


async def test_a_process_is_ready_when_all_it_needs_answers() -> None:
    good = True

    async def database() -> bool:
        return good

    async def broken() -> bool:
        raise OSError

    async with client_of(create_app("test", [], ready={"database": database})) as http:
        assert (await http.get("/health/ready")).status_code == 200
        good = False
        assert (await http.get("/health/ready")).json() == {"status": "not ready", "checks": {"database": False}}
        assert (await http.get("/health/live")).status_code == 200
    async with client_of(create_app("test", [], ready={"database": broken})) as http:
        assert (await http.get("/health/ready")).status_code == 503


async def test_requests_are_counted_by_route_not_by_path(http: httpx.AsyncClient) -> None:
    await http.get("/nowhere/else")
    await http.get("/listed?limit=3")

    metrics = (await http.get("/metrics")).text

    assert 'route="/listed"' in metrics
    assert "/nowhere/else" not in metrics
