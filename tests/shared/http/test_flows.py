"""Transfers in pieces: never whole in memory, refused early, and given up when nothing moves."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cloudphone_shared.errors import Invalid, NotFound, Unavailable, encode_problem
from cloudphone_shared.http.client import ServiceClient

pytestmark = pytest.mark.anyio
MEBIBYTE = 1024 * 1024
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that reads each request's head, and then does what `act` says."""

    def __init__(self) -> None:
        self.act: Act
        self.head = b""
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.head = await reader.readuntil(b"\r\n\r\n")
            await self.act(reader, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    server.close()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[ServiceClient]:
    client = ServiceClient("files", f"http://127.0.0.1:{peer.port}", patience=60.0)
    yield client
    await client.close()


async def zeros(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes * 16):
        yield bytes(MEBIBYTE // 16)


async def test_a_large_body_passes_both_ways_in_little_memory(peer: Peer, client: ServiceClient) -> None:
    size = 48 * MEBIBYTE

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left:
            left -= len(await reader.read(MEBIBYTE))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(48):
            writer.write(bytes(MEBIBYTE))
            await writer.drain()

    peer.act = echo
    tracemalloc.start()
    try:
        received = 0
        async with client.flow("PUT", "/file", body=zeros(48), headers={"Content-Length": str(size)}) as flow:
            assert flow.status == 200
            async for piece in flow.pieces():
                received += len(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert received == size
    assert most < size / 4


async def test_a_body_of_unknown_length_goes_out_in_chunks(peer: Peer, client: ServiceClient) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nUpload-Offset: 5\r\n\r\n")

    peer.act = listen

    async def words() -> AsyncIterator[bytes]:
        for word in (b"ab", b"", b"cde"):
            yield word

    async with client.flow("PATCH", "/file", body=words()) as flow:
        assert (flow.status, flow.headers["upload-offset"]) == (204, "5")
        assert [piece async for piece in flow.pieces()] == []
    assert await heard == b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert b"transfer-encoding: chunked" in peer.head.lower()


async def test_a_refusal_comes_through_though_the_body_is_not_all_sent(peer: Peer, client: ServiceClient) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"a")
        problem = encode_problem(NotFound("no such file").problem())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(problem), problem))

    peer.act = refuse

    async def endless() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    with pytest.raises(NotFound, match="no such file"):
        async with client.flow("PUT", "/file", body=endless()):
            pass
    assert client.breaker.state == "closed"


async def test_a_service_that_falls_silent_is_unavailable_and_what_the_sender_raises_is_the_senders(
    peer: Peer,
) -> None:
    client = ServiceClient("files", f"http://127.0.0.1:{peer.port}", patience=0.2)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await writer.drain()
        await reader.read()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def wrong() -> AsyncIterator[bytes]:
        yield b"a"
        raise Invalid("the sender is at fault")

    try:
        for act in (half, nothing, hang_up):
            peer.act = act
            with pytest.raises(Unavailable):
                async with client.flow("GET", "/file") as flow:
                    assert [piece async for piece in flow.pieces()]
        peer.act = nothing
        with pytest.raises(Invalid, match="the sender"):
            async with client.flow("PUT", "/file", body=wrong()):
                pass
    finally:
        await client.close()
