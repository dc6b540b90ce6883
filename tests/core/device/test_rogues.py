"""Phones and adb servers that answer anything, or nothing: whoever asks is told that they are away, and goes on."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_core.device.adb import Adb, PhoneAway, PhoneRefused
from cloudphone_core.device.live.watching import Pace, Supervisor
from cloudphone_core.device.models import DeviceRow, DeviceRunRow
from cloudphone_shared.contracts.phone import Tap, TypedText
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.phones import Phones, now_running, plan
from tests.phone.host import CLSE, CNXN, HEADER, OKAY, OPEN, WRTE, message

pytestmark = pytest.mark.anyio
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PHONE = "127.0.0.1:5555"


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncGenerator[int]:
    """The port of a server that talks so, to whoever connects."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


# Half of what a server says, so that nonsense is heard at every depth.
answers = st.lists(
    st.one_of(
        st.sampled_from([
            b"OKAY", b"FAIL", b"0004", b"ffff", b"zzzz", bytes(8), b"\x01\x05\0\0\0hello", b"\x03\x01\0\0\0\0",
            b"\x01\xff\xff\xff\xff", b"DENT" + b"\xff" * 16, b"DATA\x04\0\0\0abcd", b"DATA\xff\xff\xff\xff", b"DONE",
            b"STAT" + bytes(12), b"FAIL\x04\0\0\0full", b"\x89PNG\r\n\x1a\n", b"127.0.0.1:5555\tdevice\n",
        ]),
        st.binary(max_size=40),
    ),
    max_size=8,
)  # fmt: skip


@given(said=answers, hangs=st.booleans(), seed=st.integers())
async def test_whatever_is_answered_the_caller_hears_that_the_phone_is_away(
    said: list[bytes], hangs: bool, seed: int
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(b"".join(said))
        await writer.drain()
        if hangs:
            await reader.read()

    async def content() -> AsyncGenerator[bytes]:
        yield bytes(100)

    async with listening(talk) as port:
        adb = Adb(("127.0.0.1", port), deadline=0.02, install_deadline=0.02)
        asked: list[Callable[[], Awaitable[object]]] = [
            lambda: adb.connect(PHONE),
            lambda: adb.disconnect(PHONE),
            adb.states,
            lambda: adb.booted(PHONE),
            lambda: adb.shell(PHONE, ["true"]),
            lambda: adb.screenshot(PHONE),
            lambda: adb.input(PHONE, [Tap(x=1, y=2), TypedText(text="x")]),
            lambda: adb.vitals(PHONE),
            lambda: adb.look(PHONE, ["/sdcard/a"]),
            lambda: adb.list_files(PHONE, "/sdcard"),
            lambda: adb.push(PHONE, content(), "/sdcard/a"),
            lambda: anext(adb.pull(PHONE, "/sdcard/a"), None),
            lambda: adb.install(PHONE, "/data/local/tmp/a"),
            lambda: adb.uninstall(PHONE, "a.b"),
            lambda: adb.installed(PHONE, "a.b"),
        ]
        for ask in random.Random(seed).sample(asked, 5):
            with contextlib.suppress(PhoneAway, PhoneRefused):
                await ask()
        await adb.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def noisy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(random.Random(1).randbytes(4096))
    await writer.drain()
    await reader.read()


async def boastful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announces more than it could ever send."""
    writer.write(HEADER.pack(CNXN, 0x01000001, 1 << 20, 0xFFFFFFF0, 0, CNXN ^ 0xFFFFFFFF))
    await writer.drain()
    await reader.read()


async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greets as a phone does, and answers every service with nonsense without an end."""
    banner = b"device::features=shell_v2,cmd"
    noise = random.Random(2)
    while True:
        command, first, _, length, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
        await reader.readexactly(length)
        if command == CNXN:
            writer.write(message(CNXN, 0x01000001, 1 << 18, banner, sum_=sum(banner)))
        elif command == OPEN:
            writer.write(message(OKAY, first, first) + message(WRTE, first, first, noise.randbytes(2000)))
        elif command == OKAY:
            writer.write(message(WRTE, first, first, noise.randbytes(2000)))
        elif command == CLSE:
            writer.write(message(CLSE, first, first))
        await writer.drain()


async def test_rogue_phones_keep_nobody_from_the_others(world: World, phones: Phones) -> None:
    ana = world.users.user(world.users.tenant())
    async with contextlib.AsyncExitStack() as stack:
        rogues = [await stack.enter_async_context(listening(talk)) for talk in (silent, noisy, boastful, babbling)]
        good: UUID | None = None
        for port in [*rogues, 0]:
            device = await world.device(owner=ana)
            container, _ = await phones.start(plan(UUID(device["id"])))
            await now_running(world.database, device["id"], container)
            if port:
                async with world.database.writing() as session:
                    (await session.get_one(DeviceRow, UUID(device["id"]))).adb_port = port
            else:
                good = UUID(device["id"])

        async def last_seen() -> object:
            async with world.database.reading() as session:
                device = await session.get_one(DeviceRow, good)
                return (await session.get_one(DeviceRunRow, device.run_id)).last_seen_at

        adb = Adb(("127.0.0.1", phones.port), deadline=2)
        pace = Pace(round=0.05, look=0.1, record=0.1, silence=1000, first_call=0.05, last_call=0.1)
        watch = asyncio.create_task(Supervisor(world.database, adb, phones.provider, pace=pace).run())
        try:
            for _ in range(3):
                before = await last_seen()

                async def seen_again(before: object = before) -> bool:
                    return await last_seen() != before

                await eventually(seen_again)
            assert not watch.done()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        async with world.database.reading() as session:
            assert (await session.get_one(DeviceRow, good)).state == "running"
