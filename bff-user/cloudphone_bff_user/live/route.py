"""`/my/events`: a WebSocket on which a customer is told what happens to his own things."""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from litestar import WebSocket, websocket
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.http.app import PUBLIC

from .sockets import BAD_MESSAGE, NO_ANSWER, TOKEN, TOO_MANY, Closed, Gone, Live, Socket, read

_AWAY = 1013
_CLOSE_SECONDS = 5.0
_SUBPROTOCOL = "bearer"
_PLACE = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@websocket("/my/events", opt=PUBLIC)
async def my_events(socket: WebSocket[Any, Any, Any], live: NamedDependency[Live]) -> None:
    """The token comes in the header Authorization, as the subprotocol after `bearer`, or in the first message."""
    offered: list[str] = cast("Mapping[str, Any]", socket.scope).get("subprotocols") or []
    by_protocol = len(offered) == 2 and offered[0] == _SUBPROTOCOL
    await socket.accept(subprotocols=_SUBPROTOCOL if by_protocol else None)
    wire = _Wire(socket)
    try:
        token = socket.headers.get("authorization", "").removeprefix("Bearer ") or (offered[1] if by_protocol else None)
        caller, after = await _introduced(wire, live, token)
        after = after or socket.query_params.get("after") or socket.headers.get("last-event-id")
        if after is not None and _PLACE.fullmatch(after) is None:
            raise Closed(BAD_MESSAGE, "`after` is the id of a message")
        await Socket(live, wire, caller, after).run()
    except Closed as closed:
        await _close(socket, closed.code, closed.reason)
    except Unavailable:
        await _close(socket, _AWAY, "tokens cannot be verified now: try again")
    except DomainError as refusal:
        await _close(socket, TOO_MANY if refusal.status == 429 else TOKEN, refusal.detail[:100])
    except Gone:
        return


async def _introduced(wire: "_Wire", live: Live, token: str | None) -> tuple[Caller, str | None]:
    """Who is there, and from where on he wants messages if the first one said so.

    Raises Closed, Gone, DomainError, Unavailable.
    """
    after = None
    if token is None:
        try:
            async with asyncio.timeout(live.pace.token_within):
                said = read(await wire.receive())
        except TimeoutError:
            raise Closed(NO_ANSWER, "no token came") from None
        if said.token is None:
            raise Closed(TOKEN, "the first message is to bring a token")
        token, after = said.token, said.after
    return await live.identify(token), after


async def _close(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    """Without waiting for ever for one that does not read: its connection ends with the handler."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await socket.close(code, reason)


class _Wire:
    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self._socket = socket

    async def send(self, message: dict[str, Any] | bytes) -> None:
        text = message if isinstance(message, bytes) else msgspec.json.encode(message)
        await self._socket.send({"type": "websocket.send", "text": text.decode(), "bytes": None})

    async def receive(self) -> dict[str, Any]:
        message: Any = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        return message
