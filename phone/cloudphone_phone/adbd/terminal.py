"""A shell that somebody types into."""

from cloudphone_phone.shell.running import Shell
from cloudphone_phone.shell.streams import Nothing, Sink, Source

LONGEST_LINE = 64 << 10


class _Terminal:
    """Writes lines as a terminal wants them."""

    def __init__(self, out: Sink) -> None:
        self._out = out

    async def write(self, data: bytes) -> None:
        await self._out.write(data.replace(b"\n", b"\r\n"))


async def interact(shell: Shell, source: Source, out: Sink, *, terminal: bool = True) -> None:
    """Prompts, echoes and runs line by line, until `exit` or the end; without a terminal it only runs."""
    screen: Sink = _Terminal(out) if terminal else out
    line = bytearray()
    if terminal:
        await screen.write(_prompt(shell))
    while not shell.ended and (typed := await source.read()):
        for letter in typed:
            if letter in b"\r\n":
                if terminal:
                    await screen.write(b"\n")
                await shell.run(line.decode("utf-8", "surrogateescape"), Nothing(), screen, screen)
                line.clear()
                if shell.ended:
                    return
                if terminal:
                    await screen.write(_prompt(shell))
            elif letter == 0x04 and not line:
                return
            else:
                await _edit(line, letter, screen, terminal=terminal)
    if line and not terminal:
        await shell.run(line.decode("utf-8", "surrogateescape"), Nothing(), screen, screen)


async def _edit(line: bytearray, letter: int, screen: Sink, *, terminal: bool) -> None:
    if letter in (0x7F, 0x08):
        if line:
            line.pop()
            if terminal:
                await screen.write(b"\b \b")
    elif letter == 0x03:
        line.clear()
        await screen.write(b"^C\n")
    elif len(line) < LONGEST_LINE:
        line.append(letter)
        if terminal:
            await screen.write(bytes([letter]))


def _prompt(shell: Shell) -> bytes:
    return f"cloudphone:{shell.folder} $ ".encode()
