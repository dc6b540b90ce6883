"""The checker's own connection: whole answers however they arrive, and a clear end when there is none."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from cloudphone_deploy.consistency import connection
from cloudphone_deploy.consistency.connection import Line, request
from tests.conditions import eventually

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Status: cloudphone; hit\r\n\r\nhello"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


class Listening:
    def __init__(self) -> None:
        self.pieces: list[bytes] = [ANSWER]
        self.asked: list[bytes] = []
        self.close_after = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.close_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Listening, Line]]:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 60)
    answers = Listening()
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    line = Line(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield answers, line
    line.close()
    server.close()


@pytest.mark.parametrize("cut", [1, 20, 40, len(ANSWER) - 1])
async def test_an_answer_may_come_in_pieces(listening: tuple[Listening, Line], cut: int) -> None:
    answers, line = listening
    answers.pieces = [ANSWER[:cut], ANSWER[cut:]]
    for _ in range(2):
        reply = await line.ask(request("GET", "/", "token"))
        assert (reply.status, reply.body, reply.header(b"cache-status")) == (200, b"hello", b"cloudphone; hit")
        assert reply.sent <= reply.received


async def test_an_answer_without_a_body_ends_with_its_head(listening: tuple[Listening, Line]) -> None:
    answers, line = listening
    answers.pieces = [b'HTTP/1.1 304 Not Modified\r\netag: W/"1"\r\n\r\n']
    assert (await line.ask(request("GET", "/", "t", If_None_Match='W/"1"'))).status == 304
    assert b'If-None-Match: W/"1"' in answers.asked[0]


async def test_a_connection_that_ends_is_told_and_made_anew(listening: tuple[Listening, Line]) -> None:
    answers, line = listening
    answers.pieces, answers.close_after = [b"HTTP/1.1 200 OK\r\n"], True
    with pytest.raises(ConnectionResetError):
        await line.ask(request("GET", "/"))
    answers.pieces, answers.close_after = [ANSWER], False
    assert (await line.ask(request("GET", "/"))).body == b"hello"


async def test_a_request_without_an_answer_can_be_given_up(listening: tuple[Listening, Line]) -> None:
    answers, line = listening
    answers.pieces = []
    asking = asyncio.ensure_future(line.ask(request("GET", "/")))
    await eventually(lambda: bool(answers.asked), within=60)
    line.cut(older_than=60)
    assert not asking.done()
    line.cut()
    with pytest.raises(ConnectionResetError):
        await asking


async def test_a_request_carries_its_body_and_length(listening: tuple[Listening, Line]) -> None:
    content = request("PATCH", "/v1/users/1", "token", {"name": "é"}, X_Request_Id="checked.u1.1")
    head, _, body = content.partition(b"\r\n\r\n")
    assert b"X-Request-Id: checked.u1.1" in head and f"Content-Length: {len(body)}".encode() in head
