"""logcat, log"""

import re

from cloudphone_phone.android.log import LEVELS, LONGEST_LINE, Line, Log
from cloudphone_phone.shell.call import Call, CommandFailed, command

_FILTER = re.compile(r"([^:\s]+|\*):([VDIWEFS])?")
_FORMATS = ("brief", "raw", "tag", "time", "threadtime")


@command("logcat")
async def logcat(call: Call) -> int:
    for option in ("-b", "--buffer", "--pid", "--uid", "-e", "-f"):
        call.option(option)
    format_ = call.option("-v", "--format", default="threadtime")
    if format_ not in _FORMATS:
        raise CommandFailed(f'Invalid parameter "{format_}" to -v')
    log = call.android.log
    if call.flag("-c", "--clear"):
        log.clear()
        return 0
    if call.flag("-g"):
        await call.say(f"main: ring buffer is 256 KiB, max entry is {LONGEST_LINE} B")
        return 0
    last = call.option("-t", "-T")
    once = call.flag("-d") or bool(last)
    levels = _levels(call)
    lines = [line for line in log.after(0) if _passes(line, levels)]
    if last.isdecimal():
        lines = lines[-int(last[:6]) :]
    await call.say(*(line.shown(format_) for line in lines))
    if not once:
        await _follow(call, log, levels, format_)
    return 0


async def _follow(call: Call, log: Log, levels: dict[str, int], format_: str) -> None:
    """Until the one who reads hangs up."""
    seen = max((line.number for line in log.after(0)), default=0)
    while True:
        lines = log.after(seen)
        if not lines:
            await log.more()
            continue
        seen = lines[-1].number
        await call.say(*(line.shown(format_) for line in lines if _passes(line, levels)))


@command("log")
async def log(call: Call) -> None:
    level = call.option("-p", default="i").upper()
    tag = call.option("-t", default="log")
    if level not in tuple(LEVELS):
        raise CommandFailed(f"bad -p '{level}'")
    call.android.log.write(tag, " ".join(call.arguments)[:LONGEST_LINE], level=level, pid=1999)


def _levels(call: Call) -> dict[str, int]:
    """The lowest level that each tag is shown from; `*` stands for the others."""
    levels = {"*": len(LEVELS)} if call.flag("-s") else {}
    for argument in call.arguments:
        found = _FILTER.fullmatch(argument)
        if found:
            levels[found[1]] = len(LEVELS) if found[2] == "S" else LEVELS.index(found[2] or "V")
        else:
            levels[argument] = 0
    return levels


def _passes(line: Line, levels: dict[str, int]) -> bool:
    return LEVELS.index(line.level) >= levels.get(line.tag, levels.get("*", 0))
