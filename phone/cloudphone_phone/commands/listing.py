"""ls, stat, du"""

import stat as kinds
from datetime import UTC, datetime

from cloudphone_phone.android.files import Stat
from cloudphone_phone.shell.call import Call, CommandFailed, command

_DEEPEST = 64


@command("ls")
async def ls(call: Call) -> int:
    flags = call.takes("l", "a", "A", "1", "d", "h", "R", "t", "n")
    status = 0
    paths = call.arguments or [call.shell.folder]
    for argument in paths:
        found = call.android.files.stat(call.path(argument))
        if found is None:
            await call.complain(f"ls: {argument}: No such file or directory")
            status = 1
        elif not kinds.S_ISDIR(found.mode) or "d" in flags:
            await call.say(_line(argument, found, flags))
        else:
            status |= await _folder(call, argument, flags, headed=len(paths) > 1 or "R" in flags)
    return status


async def _folder(call: Call, argument: str, flags: set[str], *, headed: bool, depth: int = 0) -> int:
    path = call.path(argument)
    names = call.android.files.names(path)
    if names is None:
        await call.complain(f"ls: {argument}: Permission denied")
        return 1
    if headed:
        await call.say(f"{argument}:")
    found = {name: entry for name in names if (entry := call.android.files.stat(f"{path}/{name}"))}
    shown = {name: entry for name, entry in found.items() if flags & {"a", "A"} or not name.startswith(".")}
    if "t" in flags:
        shown = dict(sorted(shown.items(), key=lambda item: -item[1].modified))
    if "l" in flags:
        await call.say(f"total {sum(-(-entry.size // 4096) * 4 for entry in shown.values())}")
    await call.say(*(_line(name, entry, flags) for name, entry in shown.items()))
    if "R" in flags and depth < _DEEPEST:
        for name, entry in shown.items():
            if kinds.S_ISDIR(entry.mode):
                await call.say("")
                await _folder(call, f"{argument.rstrip('/')}/{name}", flags, headed=True, depth=depth + 1)
    return 0


def _line(name: str, found: Stat, flags: set[str]) -> str:
    if "l" not in flags and "n" not in flags:
        return name
    moment = datetime.fromtimestamp(found.modified, UTC).strftime("%Y-%m-%d %H:%M")
    owner = "2000 2000" if "n" in flags else "shell shell"
    return f"{kinds.filemode(found.mode)} 1 {owner} {found.size:>8} {moment} {name}"


@command("stat")
async def stat(call: Call) -> None:
    format_ = call.option("-c")
    for argument in call.arguments:
        found = call.android.files.stat(call.path(argument))
        if found is None:
            raise CommandFailed(f"'{argument}': No such file or directory")
        facts = {"%s": str(found.size), "%Y": str(found.modified), "%a": f"{found.mode & 0o777:o}", "%n": argument}
        line = format_ or "  File: %n\n  Size: %s\nAccess: (%a)\nModify: %Y"
        for name, value in facts.items():
            line = line.replace(name, value)
        await call.say(line)


@command("du")
async def du(call: Call) -> None:
    call.takes("s", "h", "k", "d")
    for argument in call.arguments or ["."]:
        await call.say(f"{_size(call, call.path(argument)) >> 10}\t{argument}")


def _size(call: Call, path: str, depth: int = 0) -> int:
    found = call.android.files.stat(path)
    if found is None or depth > _DEEPEST:
        return 0
    names = call.android.files.names(path) if kinds.S_ISDIR(found.mode) else None
    return found.size + sum(_size(call, f"{path}/{name}", depth + 1) for name in names or ())
