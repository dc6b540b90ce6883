"""The sockets that are open in this process: each reads its customer's stream at its own pace."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import structlog

from cloudphone_shared.auth import Caller
from cloudphone_shared.errors import Unavailable

from .streams import Streams

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BAD_MESSAGE, TOKEN, NO_ANSWER, TOO_SLOW, TOO_MANY = 4400, 4401, 4408, 4410, 4429
BATCH = 100
"""Messages that a socket reads at once."""
_LONGEST_MESSAGE = 16_384


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, but for `most`: so many sockets a customer has open at once, over all processes."""

    most: int = 5
    token_within: float = 10.0
    ping_every: float = 20.0
    answer_within: float = 40.0
    send_within: float = 10.0
    check_every: float = 1.0


PACE = Pace()


class Closed(Exception):
    """To be closed by us, with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Gone(Exception):
    """The other side has closed it."""


class Wire(Protocol):
    async def send(self, message: dict[str, Any] | bytes) -> None: ...

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises Gone, and Closed for what is no JSON object."""
        ...


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer's side may say: a token, in the first message or to renew it, and the answer to a ping."""

    token: str | None = None
    after: str | None = None
    type: str | None = None


class Live:
    """`identify` verifies a token; `still_valid` whether its session stands. Opened and closed with the app."""

    def __init__(
        self,
        streams: Streams,
        identify: Callable[[str], Awaitable[Caller]],
        still_valid: Callable[[Caller], bool],
        *,
        pace: Pace = PACE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.streams, self.identify, self.still_valid, self.pace, self.clock = (
            streams, identify, still_valid, pace, clock,
        )  # fmt: skip
        self._sockets: dict[str, set[Socket]] = defaultdict(set)
        self.away = False

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])
            await self.streams.close()

    @contextlib.asynccontextmanager
    async def entered(self, socket: "Socket") -> AsyncGenerator[None]:
        """Raises Closed where the customer has too many already."""
        user = socket.caller.id
        if len(self._sockets[user]) >= self.pace.most or not await self.count(socket):
            raise Closed(TOO_MANY, f"at most {self.pace.most} at once")
        self._sockets[user].add(socket)
        try:
            yield
        finally:
            self._sockets[user].discard(socket)
            if not self._sockets[user]:
                del self._sockets[user]
            with contextlib.suppress(Unavailable):
                await self.streams.leave(user, [socket.id])

    async def count(self, socket: "Socket") -> bool:
        """Over all processes; while Redis is away, this process' own count is all there is."""
        life = self.pace.ping_every + self.pace.answer_within
        try:
            return await self.streams.enter(socket.caller.id, socket.id, self.pace.most, life)
        except Unavailable:
            return True

    async def _follow(self) -> None:
        """Wakes those whose streams have grown, and everybody after an outage."""
        since: str | None = None
        while True:
            try:
                if since is None:
                    since = await self.streams.newest_growth()
                    self._wake(list(self._sockets))
                since, users = await self.streams.grown(since)
                self.away = False
                self._wake(users & self._sockets.keys())
            except Unavailable as error:
                if not self.away:
                    log.warning("live_events_away", reason=str(error))
                self.away, since = True, None
                await asyncio.sleep(0.5)

    def _wake(self, users: Any) -> None:
        for user in users:
            for socket in self._sockets.get(user, ()):
                socket.grown.set()


class Socket:
    """One open socket. It holds no message: what it has not sent yet is in Redis."""

    def __init__(self, live: Live, wire: Wire, caller: Caller, after: str | None) -> None:
        self.id = uuid4().hex
        self.caller, self.grown = caller, asyncio.Event()
        self._live, self._wire, self._after, self._pace = live, wire, after, live.pace
        self._place: str | None = None
        self._pinged_at = time.monotonic()
        self._answered = True
        self._degraded = False

    async def run(self) -> None:
        """Until either side closes. Raises Closed or Gone."""
        async with self._live.entered(self):
            tasks = [asyncio.create_task(self._tell()), asyncio.create_task(self._listen())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()

    async def _tell(self) -> None:
        await self._begin()
        while True:
            self.grown.clear()
            self._check()
            more = await self._send_what_is_new()
            await self._keep_alive()
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.check_every):
                        await self.grown.wait()

    async def _begin(self) -> None:
        """Says from where on messages come, and whether some before that may be missing."""
        place = await self._asked(self._live.streams.last(self.caller.id))
        resumed = self._after is not None and place is not None
        if resumed and self._after is not None:
            there = await self._asked(self._live.streams.after(self.caller.id, self._after, 1))
            resumed = there is not None
        self._place = self._after if resumed else place
        await self._send({"type": "ready", "id": self._place, "expiresAt": self.caller.expires_at})
        if self._after is not None and not resumed and place is not None:
            await self._reset(place)

    async def _send_what_is_new(self) -> bool:
        """Whether there may be more at once."""
        if self._place is None:
            # Nothing was known of the stream at the beginning: whatever there is may not be all.
            place = await self._asked(self._live.streams.last(self.caller.id))
            if place is not None:
                await self._reset(place)
            return False
        entries = await self._asked(self._live.streams.after(self.caller.id, self._place, BATCH))
        if entries is None:
            if not self._degraded and (place := await self._asked(self._live.streams.last(self.caller.id))) is not None:
                await self._reset(place)
            return False
        for entry in entries:
            if entry.message:
                await self._send(b'{"id":"' + entry.id.encode() + b'",' + entry.message[1:])
            self._place = entry.id
        return len(entries) == BATCH

    async def _asked(self, asking: Awaitable[Any]) -> Any:
        """None while Redis is away, which the other side is told once."""
        try:
            found = await asking
        except Unavailable:
            if not self._degraded:
                self._degraded = True
                await self._send({"type": "degraded"})
            return None
        if self._degraded:
            self._degraded = False
            await self._send({"type": "restored"})
        return found

    async def _reset(self, place: str) -> None:
        self._place = place
        await self._send({"type": "reset", "id": place})

    async def _keep_alive(self) -> None:
        now = time.monotonic()
        if not self._answered and now - self._pinged_at > self._pace.answer_within:
            raise Closed(NO_ANSWER, "no answer to a ping")
        if self._answered and now - self._pinged_at > self._pace.ping_every:
            self._pinged_at, self._answered = now, False
            await self._send({"type": "ping"})
            await self._live.count(self)

    async def _listen(self) -> None:
        while True:
            said = read(await self._wire.receive())
            if said.type == "pong":
                self._answered = True
            elif said.token is not None:
                caller = await self._live.identify(said.token)
                if caller.id != self.caller.id:
                    raise Closed(TOKEN, "the token is another's")
                self.caller = caller
                await self._send({"type": "renewed", "expiresAt": caller.expires_at})
            else:
                raise Closed(BAD_MESSAGE, "expected a pong or a token")

    def _check(self) -> None:
        if self._live.clock() >= self.caller.expires_at:
            raise Closed(TOKEN, "the token has expired")
        if not self._live.still_valid(self.caller):
            raise Closed(TOKEN, "the session was closed")

    async def _send(self, message: dict[str, Any] | bytes) -> None:
        try:
            async with asyncio.timeout(self._pace.send_within):
                await self._wire.send(message)
        except TimeoutError:
            raise Closed(TOO_SLOW, "too slow") from None


def read(message: dict[str, Any]) -> Said:
    """Raises Closed."""
    text = message.get("text") or message.get("bytes") or b""
    try:
        if len(text) > _LONGEST_MESSAGE:
            raise msgspec.ValidationError
        return msgspec.json.decode(text, type=Said)
    except (msgspec.MsgspecError, UnicodeError):
        raise Closed(BAD_MESSAGE, "not a message we know") from None
