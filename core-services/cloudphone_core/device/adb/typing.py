"""Touches and keys: one shell for each phone that is used, kept open, so that a tap starts nothing but itself."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence

from cloudphone_shared.contracts.phone import InputEvent, Key, KeyPress, Swipe, Tap, TypedText

from .channel import AdbServer, Channel
from .errors import PhoneAway, PhoneRefused
from .shell import EXIT, PACKET, STDIN, STDOUT, command_line, packet

_KEYS: dict[Key, str] = {
    "home": "KEYCODE_HOME",
    "back": "KEYCODE_BACK",
    "recents": "KEYCODE_APP_SWITCH",
    "power": "KEYCODE_POWER",
    "volume_up": "KEYCODE_VOLUME_UP",
    "volume_down": "KEYCODE_VOLUME_DOWN",
    "enter": "KEYCODE_ENTER",
    "delete": "KEYCODE_DEL",
    "tab": "KEYCODE_TAB",
    "menu": "KEYCODE_MENU",
}
_LONGEST_LINE = 3000
"""Bytes: a terminal's line would hold 4,095, and some shells read no more."""
_MOST_SAID = 64 << 10


def commands(event: InputEvent) -> list[list[str]]:
    """As words for Android's `input`, which reads `%s` in a text as a space: a `%` is typed by itself before an `s`."""
    match event:
        case Tap(x=x, y=y):
            return [["input", "tap", str(x), str(y)]]
        case Swipe(x1=x1, y1=y1, x2=x2, y2=y2, duration_ms=duration):
            return [["input", "swipe", *map(str, (x1, y1, x2, y2, duration))]]
        case TypedText(text=text):
            first, *rest = text.split("%s")
            pieces = [first + "%"] if rest else [first]
            pieces += ["s" + piece + "%" for piece in rest[:-1]] + ["s" + piece for piece in rest[-1:]]
            return [["input", "text", piece.replace(" ", "%s")] for piece in pieces if piece]
        case KeyPress(key=key):
            return [["input", "keyevent", _KEYS[key]]]


def lines(events: Sequence[InputEvent]) -> list[str]:
    """Shell lines that do all in their order and stop at the first that fails."""
    found: list[str] = []
    for words in (words for event in events for words in commands(event)):
        line = f"{command_line(words)} </dev/null"
        if found and len((found[-1] + line).encode()) < _LONGEST_LINE:
            found[-1] += f" && {line}"
        else:
            found.append(line)
    return found


class Typist:
    """The shell of one phone; one caller at a time."""

    def __init__(self, server: AdbServer, address: str) -> None:
        self._server, self._address = server, address
        self._channel: Channel | None = None
        self._busy = asyncio.Lock()
        self.used_at = time.monotonic()

    @property
    def idle(self) -> bool:
        return not self._busy.locked()

    async def prepare(self) -> None:
        """Opens the shell, so that what is typed next need not wait for it. Raises PhoneAway and PhoneRefused."""
        async with self._busy:
            self.used_at = time.monotonic()
            await self._open()

    async def type(self, events: Sequence[InputEvent]) -> None:
        """Returns when the phone has taken them. Raises PhoneAway, then some may have been; and PhoneRefused."""
        async with self._busy:
            self.used_at = time.monotonic()
            try:
                channel = await self._open()
                for line in lines(events):
                    await self._do(channel, line)
            except PhoneRefused:
                raise
            except BaseException:
                # What it still says belongs to this call, and must not be taken for the answer to the next.
                self.close()
                raise

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def _open(self) -> Channel:
        if self._channel is None or self._channel.ended:
            self.close()
            self._channel = await self._server.open("shell,v2,raw:", self._address)
        return self._channel

    async def _do(self, channel: Channel, line: str) -> None:
        # Nobody can make the phone say this before its time.
        end = secrets.token_hex(8).encode()
        data = b"%b; echo %b:$?\n" % (line.encode(), end)
        await channel.write(PACKET.pack(STDIN, len(data)) + data)
        said = bytearray()
        while True:
            kind, part = await packet(channel)
            if kind == EXIT:
                raise PhoneAway(self._address, "its shell ended")
            if kind == STDOUT:
                said += part
            before, mark, status = bytes(said).partition(end + b":")
            if mark and status.endswith(b"\n"):
                break
            if len(said) > _MOST_SAID:
                raise PhoneAway(self._address, "it said more than fits")
        if status.strip() != b"0":
            why = before.decode("utf-8", "replace").strip()[:200]
            raise PhoneRefused("input_refused", f"The phone did not take the input: {why or 'no reason given'}")


class Typists:
    """Of all phones: those that were used last stay open, `most` of them, for `idle_seconds` at most."""

    def __init__(self, server: AdbServer, *, most: int = 500, idle_seconds: float = 60.0) -> None:
        self._server, self._most, self._idle_seconds = server, most, idle_seconds
        self._open: OrderedDict[str, Typist] = OrderedDict()

    def of(self, address: str) -> Typist:
        typist = self._open.get(address)
        if typist is None:
            typist = self._open[address] = Typist(self._server, address)
        self._open.move_to_end(address)
        self._tidy(typist)
        return typist

    def close(self) -> None:
        for typist in self._open.values():
            typist.close()
        self._open.clear()

    def _tidy(self, kept: Typist) -> None:
        now = time.monotonic()
        for address, typist in list(self._open.items()):
            late = now - typist.used_at > self._idle_seconds
            if not late and len(self._open) <= self._most:
                return
            if typist.idle and typist is not kept:
                typist.close()
                del self._open[address]
