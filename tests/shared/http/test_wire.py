"""The connections to a service: kept, given up when they are spoilt, and repeated only where that does no harm."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloudphone_shared.http.wire import Http11, Reply, WireError
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A server that answers each request with the next of `replies`, the last one for good; None hangs up instead."""

    def __init__(self) -> None:
        self.replies: list[bytes | None] = [OK]
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.heard: list[bytes] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.heard.append(head + body)
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if reply is None:
                    break
                writer.write(reply)
                if b"Connection: close" in reply:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    server.close()
    for writer in list(peer.open):
        writer.close()


@pytest.fixture
async def wire(peer: Peer) -> AsyncIterator[Http11]:
    wire = Http11(f"http://127.0.0.1:{peer.port}/base/")
    yield wire
    await wire.close()


async def get(wire: Http11) -> Reply:
    return await wire.exchange("GET", "/v1/things?ids=1,2", {"Accept": "application/json"}, None)


async def test_a_connection_is_kept_and_used_again(peer: Peer, wire: Http11) -> None:
    assert [await get(wire) for _ in range(3)] == [Reply(200, b"ok", None)] * 3
    assert peer.connections == 1
    assert peer.heard[0].startswith(b"GET /base/v1/things?ids=1,2 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % peer.port)


async def test_requests_at_once_have_a_connection_each(peer: Peer, wire: Http11) -> None:
    await asyncio.gather(*(get(wire) for _ in range(5)))
    assert peer.connections == 5
    await asyncio.gather(*(get(wire) for _ in range(5)))
    assert peer.connections == 5


async def test_a_body_in_chunks_and_a_refusals_header_are_read(peer: Peer, wire: Http11) -> None:
    peer.replies = [
        b"HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    ]
    assert await wire.exchange("POST", "/x", {}, b"{}") == Reply(429, b"abc", "7")
    assert peer.heard[0].endswith(b"Content-Length: 2\r\n\r\n{}")


async def test_what_the_service_closed_meanwhile_costs_a_read_nothing(peer: Peer, wire: Http11) -> None:
    peer.replies = [OK, None, OK]
    await get(wire)
    assert (await get(wire)).status == 200
    assert len(peer.heard) == 3


async def test_a_write_is_not_repeated_by_itself(peer: Peer, wire: Http11) -> None:
    peer.replies = [OK, None, OK]
    await get(wire)
    with pytest.raises(WireError, match="lost"):
        await wire.exchange("POST", "/x", {}, b"{}")
    assert len(peer.heard) == 2


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nab", b"no such protocol\r\n\r\n"]
)
async def test_half_an_answer_is_none(reply: bytes, peer: Peer, wire: Http11) -> None:
    peer.replies = [reply, OK]
    with pytest.raises(WireError):
        await get(wire)
    assert (await get(wire)).status == 200
    assert peer.connections == 2


async def test_a_connection_whose_answer_was_given_up_is_not_used_again(peer: Peer, wire: Http11) -> None:
    peer.replies = [b"HTTP/1.1 200 OK\r\n", OK]
    asking = asyncio.create_task(get(wire))
    await eventually(lambda: bool(peer.heard))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await get(wire) == Reply(200, b"ok", None)
    assert peer.connections == 2


async def test_nobody_there_is_an_error(wire: Http11) -> None:
    gone = Http11("http://127.0.0.1:1")
    with pytest.raises(WireError):
        await get(gone)
