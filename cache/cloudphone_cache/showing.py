"""Which cached views show an entity: a walk over all keys, in small steps, on a connection of its own.

There is no index, so this is the one question whose cost grows with the number of views; nobody on a reader's path
asks it. A walk reads headers only, rests between its steps, and can be taken up again where it stopped.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, cast

import msgspec
from redis.exceptions import RedisError

from .entry import Label, label_of
from .redis import Address, RedisAway, patient_client

_KEYS_AT_ONCE = 64
_REST = 1.0
"""Pause after each step, as a multiple of what the step took: Redis is left to others at least half of the time."""
_NAME = "cloudphone-walk"
_ERRORS = (RedisError, OSError, TimeoutError)
_OURS = (b"{changes}", b"{processes}", b"lease:")

# Of these keys those whose header names the entity, each with its header. Redis looks, so that little is sent.
_LOOK = """#!lua flags=no-writes,allow-cross-slot-keys
local found = {}
for place = 2, #ARGV do
  local start = redis.pcall('GETRANGE', ARGV[place], 0, 1023)
  if type(start) == 'string' and #start > 5 and string.find('FPN', string.sub(start, 1, 1), 1, true) then
    local a, b, c, d = string.byte(start, 2, 5)
    local ends = 5 + ((a * 256 + b) * 256 + c) * 256 + d
    if ends > #start and ends < 1048576 then start = redis.call('GETRANGE', ARGV[place], 0, ends - 1) end
    start = string.sub(start, 1, ends)
    if string.find(start, ARGV[1], 1, true) then
      found[#found + 1] = ARGV[place]
      found[#found + 1] = start
    end
  end
end
return found
"""


class CursorGone(ValueError):
    """The walk's cursor is none, or its node is no longer there: begin anew."""


class ShowingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry that shows the entity at `version`, read at `read_at` and kept until `hard_until` (ms since 1970)."""

    key: str
    kind: str
    version: int
    read_at: int
    hard_until: int


class Showing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A stretch of the walk: what was found, how many keys were looked at of about how many, and where it goes on;
    None at its end."""

    views: list[ShowingView]
    scanned: int
    total: int
    next_cursor: str | None


class _Place(msgspec.Struct, array_like=True):
    node: str
    cursor: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


_decode = msgspec.msgpack.Decoder(_Place).decode


async def showing(
    address: Address, entity: str, *, cursor: str | None = None, limit: int = 100, within: float = 2.0
) -> Showing:
    """Walks until `limit` views are found, `within` seconds have passed, or all keys have been looked at.

    The last step may bring more than the limit. Raises CursorGone, RedisAway.
    """
    ends = time.monotonic() + within
    found: list[ShowingView] = []
    scanned = 0
    try:
        async with _nodes(address) as nodes:
            total = sum([cast("int", await client.dbsize()) for client in nodes.values()])
            here = _begin(nodes, cursor)
            while here is not None:
                started = time.monotonic()
                client = nodes[here.node]
                place, keys = await client.scan(here.cursor, count=_KEYS_AT_ONCE, _type="STRING")
                scanned += len(keys)
                found += await _those_that_show(client, keys, entity)
                here = _next(nodes, here.node, int(place))
                if len(found) >= limit or time.monotonic() >= ends:
                    break
                await asyncio.sleep((time.monotonic() - started) * _REST)
    except _ERRORS as error:
        raise RedisAway(str(error)) from error
    return Showing(views=found, scanned=scanned, total=total, next_cursor=_spell(here))


@contextlib.asynccontextmanager
async def _nodes(address: Address) -> AsyncGenerator[dict[str, Any]]:
    """A client of each master, by its place, in the same order at every walk."""
    async with contextlib.AsyncExitStack() as stack:
        first = patient_client(address, read_timeout=5.0, name=_NAME)
        stack.push_async_callback(first.aclose)
        if not address.cluster:
            yield {"": first}
            return
        await first.initialize()
        clients: dict[str, Any] = {}
        for host, port in sorted((str(node.host), int(node.port)) for node in first.get_primaries()):
            alone = msgspec.structs.replace(address, nodes=((host, port),), cluster=False)
            client = clients[f"{host}:{port}"] = patient_client(alone, read_timeout=5.0, name=_NAME)
            stack.push_async_callback(client.aclose)
        yield clients


def _begin(nodes: dict[str, Any], cursor: str | None) -> _Place:
    if cursor is None:
        return _Place(next(iter(nodes)), 0)
    try:
        place = _decode(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.MsgspecError):
        raise CursorGone("The cursor is none of ours") from None
    if place.node not in nodes:
        raise CursorGone("The cursor's node is no longer there: begin anew")
    return place


def _next(nodes: dict[str, Any], node: str, cursor: int) -> _Place | None:
    if cursor:
        return _Place(node, cursor)
    names = list(nodes)
    following = names.index(node) + 1
    return _Place(names[following], 0) if following < len(names) else None


def _spell(place: _Place | None) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).rstrip(b"=").decode()


async def _those_that_show(client: Any, keys: Sequence[bytes], entity: str) -> list[ShowingView]:
    names = [key for key in keys if not key.startswith(_OURS)]
    if not names:
        return []
    reply = cast("list[bytes]", await client.eval(_LOOK, 0, entity, *names))
    found: list[ShowingView] = []
    for name, start in zip(reply[::2], reply[1::2], strict=True):
        label = label_of(start)
        # What the name was found in may be another entity's, longer name.
        if label is not None and (version := _version(label, entity)) is not None:
            found.append(
                ShowingView(
                    key=name.decode(),
                    kind=label.kind,
                    version=version,
                    read_at=label.read_at,
                    hard_until=label.hard_until,
                )
            )
    return found


def _version(label: Label, entity: str) -> int | None:
    return next((versions[entity] for _, versions in label.deps.values() if entity in versions), None)
