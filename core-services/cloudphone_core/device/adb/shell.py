"""Commands on a phone, with what they say and how they end (the protocol shell_v2)."""

import shlex
import struct
from collections.abc import Sequence

import msgspec

from .channel import Channel
from .errors import PhoneAway

PACKET = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT = 0, 1, 2, 3
_LARGEST_PACKET = 16 << 20


class ShellAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`code` 0: it went well. `output`: what it wrote, errors among it."""

    code: int
    output: str


def command_line(argv: Sequence[str]) -> str:
    """For a phone's shell, which sees each word as it is. Raises ValueError for a word that no command can take."""
    for word in argv:
        if "\0" in word:
            raise ValueError("a word of a command has no NUL")
    return shlex.join(argv)


async def packet(channel: Channel) -> tuple[int, bytes]:
    """Raises PhoneAway."""
    kind, length = PACKET.unpack(await channel.exactly(PACKET.size))
    if length > _LARGEST_PACKET:
        raise PhoneAway(channel.address, f"it announced a packet of {length} bytes")
    return kind, await channel.exactly(length)


async def answer(channel: Channel, at_most: int) -> ShellAnswer:
    """Raises PhoneAway, also when it says more than `at_most` bytes."""
    said = bytearray()
    while True:
        kind, data = await packet(channel)
        if kind == EXIT:
            return ShellAnswer(code=data[0] if data else 255, output=said.decode("utf-8", "replace"))
        if kind in (STDOUT, STDERR):
            said += data
        if len(said) > at_most:
            raise PhoneAway(channel.address, f"it said more than {at_most} bytes")
