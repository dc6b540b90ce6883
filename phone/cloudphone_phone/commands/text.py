"""echo, head, tail, wc, sort, true, false, exit, export, which"""

from cloudphone_phone.shell.call import COMMANDS, LONGEST_TEXT, Call, command
from cloudphone_phone.shell.streams import Source, read_all


@command("echo")
async def echo(call: Call) -> None:
    newline = "" if call.arguments[:1] == ["-n"] else "\n"
    words = call.arguments if newline else call.arguments[1:]
    await call.out.write(f"{' '.join(words)}{newline}".encode("utf-8", "surrogateescape"))


@command("true", ":")
async def true(call: Call) -> None:
    pass


@command("false")
async def false(call: Call) -> int:
    return 1


@command("exit")
async def exit_(call: Call) -> int:
    call.shell.ended = True
    status = (call.arguments or [str(call.shell.status)])[0]
    return int(status) & 0xFF if status.isascii() and status.isdecimal() and len(status) < 10 else 255


@command("export")
async def export(call: Call) -> None:
    for argument in call.arguments:
        name, assigns, value = argument.partition("=")
        if assigns and name.isidentifier() and len(call.shell.variables) < 1000:
            call.shell.variables[name] = value


@command("which")
async def which(call: Call) -> int:
    found = [f"/system/bin/{name}" for name in call.arguments if name in COMMANDS]
    await call.say(*found)
    return 0 if len(found) == len(call.arguments) else 1


@command("head")
async def head(call: Call) -> None:
    """Reads no further than it must: what comes may never end."""
    left = _count(call)
    for source in sources(call, call.arguments):
        while left > 0 and (part := await source.read(64 << 10)):
            lines = part.splitlines(keepends=True)[:left]
            left -= sum(line.endswith(b"\n") for line in lines)
            await call.out.write(b"".join(lines))


@command("tail")
async def tail(call: Call) -> None:
    count = _count(call)
    await call.say(*(await lines_of(call, call.arguments))[-count:])


@command("sort")
async def sort(call: Call) -> None:
    flags = call.takes("r", "u", "n")
    lines = await lines_of(call, call.arguments)
    lines = list(dict.fromkeys(lines)) if "u" in flags else lines
    await call.say(*sorted(lines, reverse="r" in flags))


@command("wc")
async def wc(call: Call) -> None:
    flags = call.takes("l", "w", "c")
    for source in sources(call, call.arguments):
        text = await read_all(source, LONGEST_TEXT)
        counts = {"l": text.count(b"\n"), "w": len(text.split()), "c": len(text)}
        await call.say(" ".join(str(count) for name, count in counts.items() if name in flags or not flags))


def _count(call: Call) -> int:
    first = (call.arguments or [""])[0]
    text = call.option("-n")
    if not text and first.startswith("-") and first[1:].isdecimal():
        text = call.arguments.pop(0)[1:]
    return int(text[:9]) if text.isascii() and text.isdecimal() else 10


def sources(call: Call, paths: list[str]) -> list[Source]:
    return [call.android.files.source(call.path(path)) for path in paths] or [call.source]


async def lines_of(call: Call, paths: list[str]) -> list[str]:
    """Of all these files, or of what comes in; 4 MiB together at most."""
    parts: list[bytes] = []
    left = LONGEST_TEXT
    for source in sources(call, paths):
        parts.append(await read_all(source, left))
        left -= len(parts[-1])
    return b"".join(parts).decode("utf-8", "surrogateescape").splitlines()
