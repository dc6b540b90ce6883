"""Whatever is sent to a phone, it goes on, and holds no more than it must."""

import asyncio
import contextlib
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cloudphone_phone import Phone
from cloudphone_phone.adbd.connection import MOST_STREAMS, MOST_WAITING
from cloudphone_phone.adbd.daemon import MOST_CONNECTIONS
from cloudphone_phone.adbd.wire import LARGEST_PAYLOAD
from tests.conditions import eventually
from tests.phone.host import AUTH, CLSE, CNXN, HEADER, OKAY, OPEN, VERSION, WRTE, Host, host, message

pytestmark = pytest.mark.anyio
NUMBERS = some.sampled_from([0, 1, 2, 3, 7, 0x7FFFFFFF, 0xFFFFFFFF])
PAYLOADS = some.one_of(
    some.binary(max_size=300),
    some.sampled_from(
        [
            b"shell:\0",
            b"shell:cat\0",
            b"shell,v2:id\0",
            b"shell,v2,raw:\0",
            b"sync:\0",
            b"exec:cmd package install -S 99\0",
            b"SEND\xff\xff\xff\xff",
            b"LIST\x01\0\0\0/",
            b"RECV\x04\0\0\0/etc",
            b"DATA\xff\xff\xff\x7f",
            b"\0\xff\xff\xff\xff",
            b"STA2\x07\0\0\0/sdcard",
            b"SEND\x0f\0\0\0/sdcard/f,33188DATA\x04\0\0\0abcdDONE\0\0\0\0",
        ]
    ),
)
COMMANDS = some.sampled_from([CNXN, AUTH, OPEN, OKAY, WRTE, CLSE, 0, 0xFFFFFFFF])
MESSAGES = some.builds(message, COMMANDS, NUMBERS, NUMBERS, PAYLOADS)
GARBAGE = some.one_of(
    some.binary(max_size=100), some.builds(lambda whole, cut: whole[:cut], MESSAGES, some.integers(0, 40))
)


async def works(phone: Phone) -> bool:
    async with host(phone.address) as connection:
        return await connection.run("echo works") == "works\n"


async def ended(connection: Host) -> bool:
    """Reads to the end, which has to come."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            while await connection.reader.read(1 << 16):
                pass
    return True


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(greeted=some.booleans(), sent=some.lists(some.one_of(MESSAGES, GARBAGE), max_size=12))
async def test_no_bytes_take_it_down(phone: Phone, greeted: bool, sent: list[bytes]) -> None:
    async with host(phone.address, greet=greeted) as connection:
        with contextlib.suppress(ConnectionError):
            for part in sent:
                connection.writer.write(part)
            await connection.writer.drain()
            connection.writer.write_eof()
        assert await ended(connection)
    assert phone.state == "running"
    assert await works(phone)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: phone\r\n\r\n",
        HEADER.pack(CNXN, VERSION, 1 << 20, 0xFFFFFFFF, 0, CNXN ^ 0xFFFFFFFF),
        HEADER.pack(CNXN, VERSION, 1 << 20, 1 << 16, 0, CNXN ^ 0xFFFFFFFF),
        message(OPEN, 1, 0, b"shell:id\0"),
        message(CNXN, VERSION, 10, b"host::\0"),
    ],
    ids=["http", "4 GiB", "64 KiB before the handshake", "no handshake", "too small a payload"],
)
async def test_what_is_not_the_protocol_ends_the_connection(phone: Phone, sent: bytes) -> None:
    async with host(phone.address, greet=False) as connection:
        connection.writer.write(sent)
        assert await ended(connection)
    assert await works(phone)


async def test_a_payload_larger_than_agreed_ends_the_connection(phone: Phone) -> None:
    async with host(phone.address) as connection:
        connection.writer.write(HEADER.pack(OPEN, 1, 0, LARGEST_PAYLOAD + 1, 0, OPEN ^ 0xFFFFFFFF))
        assert await ended(connection)
    assert await works(phone)


async def test_old_hosts_check_and_get_checksums(phone: Phone) -> None:
    async with host(phone.address, greet=False) as connection:
        await connection.greet(version=0x01000000)
        service = b"exec:echo old\0"
        connection.writer.write(message(OPEN, 1, 0, service, sum_=sum(service)))
        said = {}
        while WRTE not in said:
            header = HEADER.unpack(await connection.reader.readexactly(HEADER.size))
            said[header[0]] = (header[4], await connection.reader.readexactly(header[3]))
        assert said[WRTE] == (sum(b"old\n"), b"old\n")
        connection.writer.write(message(OPEN, 2, 0, service, sum_=1))
        assert await ended(connection)


async def test_more_services_than_it_serves_are_refused(phone: Phone) -> None:
    async with host(phone.address) as connection:
        for number in range(1, 4 * MOST_STREAMS):
            connection.writer.write(message(OPEN, number, 0, b"exec:sleep 1000\0"))
        answers = [await connection.receive() for _ in range(1, 4 * MOST_STREAMS)]
        assert sum(command == OKAY for command, *_ in answers) == MOST_STREAMS
        assert sum(command == CLSE for command, *_ in answers) == 3 * MOST_STREAMS - 1
        assert await works(phone)


async def test_more_connections_than_it_takes_are_closed(phone: Phone) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            await stack.enter_async_context(host(phone.address))
        async with host(phone.address, greet=False) as one_more:
            assert await ended(one_more)

    async def there_is_room() -> bool:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            return await works(phone)
        return False

    await eventually(there_is_room)


async def test_who_sends_without_waiting_is_cut_off(phone: Phone) -> None:
    """A message before the last was acknowledged would have to be kept somewhere."""
    async with host(phone.address) as connection:
        connection.writer.write(message(OPEN, 1, 0, b"exec:sleep 1000\0"))
        command, theirs, _, _ = await connection.receive()
        assert command == OKAY
        for _ in range(3):
            connection.writer.write(message(WRTE, 1, theirs, bytes(LARGEST_PAYLOAD)))
        assert await ended(connection)
    assert await works(phone)


async def test_what_nobody_reads_is_not_heaped_up(phone: Phone) -> None:
    """A message to each of many services that do not read."""
    sent = 0
    async with host(phone.address) as connection:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for number in range(1, MOST_STREAMS + 1):
                connection.writer.write(message(OPEN, number, 0, b"exec:sleep 1000\0"))
                command, theirs, _, _ = await connection.receive()
                assert command == OKAY
                connection.writer.write(message(WRTE, number, theirs, bytes(LARGEST_PAYLOAD)))
                sent += LARGEST_PAYLOAD
        assert await ended(connection)
    assert MOST_WAITING <= sent < MOST_STREAMS * LARGEST_PAYLOAD
    assert await works(phone)


async def test_who_does_not_read_is_not_written_to(phone: Phone) -> None:
    """An endless command waits for the acknowledgement of each message."""
    async with host(phone.address) as connection:
        connection.writer.write(message(OPEN, 1, 0, b"exec:logcat\0"))
        assert (await connection.receive())[0] == OKAY
        assert (await connection.receive())[0] == WRTE
        for number in range(1000):
            phone.android.log.write("Flood", f"line {number}")
        async with asyncio.timeout(60):
            assert await works(phone)
        assert len(phone.android.log.after(0)) <= 1002


async def test_services_it_does_not_have_are_refused(phone: Phone) -> None:
    async with host(phone.address) as connection:
        for service in ("tcp:22", "localabstract:x", "jdwp:1", "framebuffer:", "track-jdwp", "", "\udcff"):
            name = service.encode("utf-8", "surrogateescape")
            connection.writer.write(message(OPEN, 9, 0, name + b"\0"))
            assert (await connection.receive())[:3] == (CLSE, 0, 9)


@pytest.mark.parametrize(
    "path", ["/sdcard/../../../../etc/hostname", "/sdcard/a\0b", "relative", "/" + "x" * 1000, ".."]
)
async def test_no_path_leads_out_of_the_volume(phone: Phone, tmp_path, path: str) -> None:
    raw = f"{path},33188".encode()
    request = (
        b"SEND"
        + struct.pack("<I", len(raw))
        + raw
        + b"DATA"
        + struct.pack("<I", 3)
        + b"badDONE"
        + bytes(4)
        + b"QUIT"
        + bytes(4)
    )
    async with host(phone.address) as connection:
        said = await connection.call("sync:", request)
        assert said is not None
        assert said.startswith(b"FAIL")
    assert {entry.name for entry in tmp_path.iterdir()} == {"volume"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=some.text("abz *?\\'\"$|&;<>()`#{}=\n/.-12é\udcff", max_size=40))
async def test_no_line_takes_the_shell_down(phone: Phone, line: str) -> None:
    async with host(phone.address) as connection:
        connection.writer.write(
            message(OPEN, 1, 0, b"exec:" + line.encode("utf-8", "surrogateescape") + b" < /dev/null\0")
        )
        command, first, _, _ = await connection.receive()
        while command in (OKAY, WRTE):
            if command == WRTE:
                connection.writer.write(message(OKAY, 1, first))
            command, first, _, _ = await connection.receive()
        assert command == CLSE
