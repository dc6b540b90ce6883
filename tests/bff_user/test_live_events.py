"""Live events over a real WebSocket: in order, one's own only, to be taken up again, and not for ever."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest

from cloudphone_bff_user.live.messages import Told
from cloudphone_bff_user.live.sockets import BAD_MESSAGE, NO_ANSWER, TOKEN, TOO_MANY, TOO_SLOW, Pace
from cloudphone_bff_user.live.streams import KEPT, Streams
from cloudphone_bff_user.live.writer import Holders, Writer
from cloudphone_bff_user.main import create_app
from cloudphone_deploy.processes import _listening
from cloudphone_shared.events import Envelope
from cloudphone_shared.ids import uuid7
from tests.browser import Console, console_of
from tests.conditions import eventually
from tests.in_process import Services
from tests.servers import Valkey, free_port

pytestmark = pytest.mark.anyio
PATIENT = Pace(token_within=120, ping_every=120, answer_within=120, send_within=120, check_every=0.1)
WITHIN = 60.0


class Straight:
    """Stands where the bus would, between the relays and the worker's writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        await self.writer.write(list(envelopes))


class Portal:
    """The user BFF behind a real server, with what the worker writes."""

    def __init__(self, console: Console, port: int, writer: Writer, streams: Streams) -> None:
        self.console, self.services = console, console.services
        self.url = f"http://127.0.0.1:{port}/my/events"
        self.writer, self.streams = writer, streams
        self.http = aiohttp.ClientSession()

    @asynccontextmanager
    async def socket(self, by: dict[str, str] | None = None, **options: Any) -> AsyncIterator["Socket"]:
        after = {"after": options.pop("after")} if "after" in options else {}
        async with self.http.ws_connect(self.url, headers=by, params=after, max_msg_size=0, **options) as wire:
            yield Socket(wire)

    async def person(self) -> tuple[dict[str, Any], dict[str, str]]:
        user = await self.services.user()
        return user, await self.services.signed_in(user["email"])

    async def rename(self, device: dict[str, Any], *names: str) -> None:
        for name in names:
            await self.services.ask("PATCH", "device", f"/v1/devices/{device['id']}", {"name": name})


class Socket:
    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self.wire = wire

    async def heard(self) -> dict[str, Any]:
        answer = await self.wire.receive(timeout=WITHIN)
        assert answer.type is aiohttp.WSMsgType.TEXT, (answer, self.wire.close_code)
        return json.loads(answer.data)

    async def names(self, count: int) -> list[str]:
        """Of the devices that changed, as told by the next `count` messages."""
        return [(await self.heard())["data"]["name"] for _ in range(count)]

    async def until(self, kind: str) -> str:
        """What the next message of that type is about."""
        while (told := await self.heard())["type"] != kind:
            pass
        return told["data"].get("grantId") or told["data"]["installationId"]

    async def closed_with(self) -> int | None:
        """The code that the server named; None where it just hung up."""
        while (last := await self.wire.receive(timeout=WITHIN)).type is aiohttp.WSMsgType.TEXT:
            pass
        return last.data if last.type is aiohttp.WSMsgType.CLOSE else None


@asynccontextmanager
async def portal_of(
    services: Services, valkey: Valkey, pace: Pace = PATIENT, *, wait: bool = True
) -> AsyncIterator[Portal]:
    streams, port = Streams(valkey.url), free_port()
    core = services.clients("bff-user")
    writer = Writer(streams, Holders(core))
    async with (
        core,
        console_of(partial(create_app, pace=pace), services, valkey.url, wait=wait) as console,
        _listening(console.app, "127.0.0.1", port),
    ):
        portal = Portal(console, port, writer, streams)
        services.bus.also = Straight(writer)  # type: ignore[assignment]
        yield portal
        services.bus.also = None
        await portal.http.close()
    await streams.close()


@pytest.fixture(scope="module")
async def portal(services: Services, valkey: Valkey) -> AsyncIterator[Portal]:
    async with portal_of(services, valkey) as running:
        yield running


async def test_everybody_hears_of_his_own_things_alone_in_the_order_they_happened(portal: Portal) -> None:
    """However the token is brought: as a header, as a browser can, or in the first message."""
    (ana, by_ana), (ben, by_ben) = await portal.person(), await portal.person()
    anas, bens = await portal.services.device(owner=ana), await portal.services.device(owner=ben)
    token = by_ana["Authorization"].removeprefix("Bearer ")
    async with (
        portal.socket(by_ana) as header,
        portal.socket(protocols=["bearer", token]) as protocol,
        portal.socket() as message,
        portal.socket(by_ben) as foreign,
    ):
        await message.wire.send_json({"token": token})
        for socket in (header, protocol, message, foreign):
            ready = await socket.heard()
            assert ready["type"] == "ready"
            assert ready["expiresAt"] > datetime.now(UTC).timestamp()
        await portal.rename(anas, "one", "two", "three")
        await portal.rename(bens, "his")
        for socket in (header, protocol, message):
            assert await socket.names(3) == ["one", "two", "three"]
        told = await foreign.heard()
        assert (told["type"], told["data"]["name"]) == ("device.updated", "his")
        assert set(told) == {"id", "type", "time", "data"}
        assert set(told["data"]) == {"deviceId", "name", "changed"}


async def test_who_comes_back_hears_what_he_missed_once_or_that_it_is_lost(portal: Portal) -> None:
    ana, by = await portal.person()
    phone = await portal.services.device(owner=ana)
    async with portal.socket(by) as socket:
        began = (await socket.heard())["id"]
        await portal.rename(phone, "one")
        last = (await socket.heard())["id"]
    await portal.rename(phone, "two", "three")
    async with portal.socket(by, after=last) as socket:
        assert (await socket.heard())["id"] == last
        assert await socket.names(2) == ["two", "three"]
        await portal.rename(phone, "four")
        assert await socket.names(1) == ["four"]
    async with portal.socket({**by, "Last-Event-ID": began}) as socket:
        assert (await socket.heard())["type"] == "ready"
        assert await socket.names(4) == ["one", "two", "three", "four"]
    await portal.streams.write({ana["id"]: [told(n) for n in range(1, KEPT + 1)]})
    async with portal.socket(by, after=last) as socket:
        ready, reset = await socket.heard(), await socket.heard()
        assert reset == {"type": "reset", "id": ready["id"]}
        await portal.rename(phone, "five")
        assert await socket.names(1) == ["five"]


def told(number: int, message: bytes = b'{"type":"test","time":"2026-03-01T00:00:00Z","data":{}}') -> Told:
    return Told(source="test", seq=number, users=frozenset(), shared_device=None, owned=False, message=message)


async def test_what_the_bus_brings_again_is_told_once(portal: Portal) -> None:
    ana, by = await portal.person()
    batch = [
        Envelope(
            event_id=uuid7(), type="order.state.changed", version=1, time=datetime.now(UTC), source="shop", seq=seq,
            data=msgspec.Raw(json.dumps({"userId": ana["id"], "orderId": str(seq), "secret": 1}).encode()),
        )
        for seq in (1, 2, 3)
    ]  # fmt: skip
    async with portal.socket(by) as socket:
        await socket.heard()
        for part in (batch[:2], batch[:1], batch, batch):
            await portal.writer.write(part)
        assert [(await socket.heard())["data"] for _ in range(3)] == [{"orderId": str(n)} for n in (1, 2, 3)]
        await portal.services.order(ana)
        assert (await socket.heard())["type"] == "order.created"


async def test_who_was_granted_a_device_hears_of_it_until_that_ends(portal: Portal) -> None:
    (ana, by_ana), (ben, by_ben) = await portal.person(), await portal.person()
    phone = await portal.services.device(owner=ana)
    async with portal.socket(by_ana) as owner, portal.socket(by_ben) as holder:
        assert [(await socket.heard())["type"] for socket in (owner, holder)] == ["ready", "ready"]
        wanted = {"email": ben["email"], "access": "view", "seconds": 3600}
        grant = await portal.services.ask("POST", "device", f"/v1/devices/{phone['id']}/grants", wanted, by_ana)
        for socket in (owner, holder):
            assert await socket.until("device.shared") == grant["id"]
        installed = await portal.services.installed(phone)
        for socket in (owner, holder):
            assert await socket.until("app.installation.changed") == installed["id"]
        await portal.services.ask("DELETE", "device", f"/v1/grants/{grant['id']}", by=by_ana)
        assert await holder.until("device.shared") == grant["id"]
        again = await portal.services.installed(phone)
        assert await owner.until("app.installation.changed") == again["id"]
        await portal.services.order(ben)
        assert (await holder.heard())["type"] == "order.created"


async def test_a_socket_ends_with_its_session(portal: Portal) -> None:
    ana, by = await portal.person()
    async with portal.socket(by) as socket, portal.socket(by) as renewed:
        await socket.heard(), await renewed.heard()
        # Signed in again, and known by the new token from now on.
        again = await portal.services.signed_in(ana["email"])
        await renewed.wire.send_json({"token": again["Authorization"].removeprefix("Bearer ")})
        assert (await renewed.heard())["type"] == "renewed"
        await portal.services.ask("POST", "user", f"/v1/users/{ana['id']}/suspend", {"reason": "asked for"})
        assert await socket.closed_with() == TOKEN
        assert await renewed.closed_with() == TOKEN


async def test_who_may_not_listen_is_told_why(portal: Portal) -> None:
    _, by = await portal.person()
    token = by["Authorization"].removeprefix("Bearer ")
    async with portal.socket({"Authorization": "Bearer " + token[:-4] + "AAAA"}) as socket:
        assert await socket.closed_with() == TOKEN
    async with portal.socket({"Authorization": "Bearer " + await portal.services.identity("app").token()}) as socket:
        assert await socket.closed_with() == TOKEN
    for said in ("{", '{"type":"pong"}', '{"token":"a","more":1}', json.dumps({"token": "a" * 20_000})):
        async with portal.socket() as socket:
            await socket.wire.send_str(said)
            assert await socket.closed_with() in (TOKEN, BAD_MESSAGE), said
    async with portal.socket(by, after="the last one") as socket:
        assert await socket.closed_with() == BAD_MESSAGE


async def test_a_customer_has_so_many_sockets_and_no_more(portal: Portal) -> None:
    _, by = await portal.person()
    async with portal.socket(by) as first, portal.socket(by), portal.socket(by), portal.socket(by), portal.socket(by):
        await first.heard()
        async with portal.socket(by) as sixth:
            assert await sixth.closed_with() == TOO_MANY
        await first.wire.close()

        async def is_let_in() -> bool:
            async with portal.socket(by) as another:
                return (await another.wire.receive(timeout=WITHIN)).type is aiohttp.WSMsgType.TEXT

        await eventually(is_let_in)


async def test_who_is_silent_or_does_not_read_is_dropped(services: Services, valkey: Valkey) -> None:
    hasty = Pace(token_within=0.2, ping_every=0.1, answer_within=0.5, send_within=0.3, check_every=0.05)
    async with portal_of(services, valkey, hasty) as portal:
        (ana, by_ana), (_, by_ben) = await portal.person(), await portal.person()
        async with portal.socket() as nobody, portal.socket(by_ben) as silent, portal.socket(by_ana) as slow:
            transport: Any = slow.wire._response.connection.transport  # type: ignore[union-attr]
            transport.pause_reading()
            large = b'{"type":"test","time":"2026-03-01T00:00:00Z","data":{"x":"' + b"x" * 50_000 + b'"}}'
            await portal.streams.write({ana["id"]: [told(n, large) for n in range(1, 400)]})
            assert await nobody.closed_with() == NO_ANSWER
            while (await silent.heard())["type"] != "ping":
                pass
            assert await silent.closed_with() == NO_ANSWER

            async def is_dropped() -> bool:
                return not await portal.streams._redis.exists(f"my-sockets:{{{ana['id']}}}")

            # Nobody answers its pings either, but of those the server has not sent one yet: it waits to send.
            await eventually(is_dropped)
            transport.resume_reading()
            assert await slow.closed_with() in (TOO_SLOW, None)


async def test_while_redis_is_away_the_socket_stays_and_says_so(services: Services, own_valkey: Valkey) -> None:
    async with portal_of(services, own_valkey, wait=False) as portal:
        ana, by = await portal.person()
        phone = await portal.services.device(owner=ana)
        async with portal.socket(by) as socket:
            ready = await socket.heard()
            own_valkey.stop()
            assert (await socket.heard()) == {"type": "degraded"}
            own_valkey.start()
            # It came back empty: something may have been lost with it.
            assert (await socket.heard()) == {"type": "restored"}
            reset = await socket.heard()
            assert reset["type"] == "reset"
            assert reset["id"] != ready["id"]
            await portal.rename(phone, "after")
            assert await socket.names(1) == ["after"]
