"""grep, for the patterns that scripts use: words, `.`, `.*`, classes, anchors and alternatives.

Nothing else repeats, so that no pattern and no text can hold up the process, which belongs to many phones.
"""

import re

from cloudphone_phone.shell.call import Call, CommandFailed, command

from .text import lines_of

_LONGEST_PATTERN = 200
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")


class Pattern:
    """Alternatives, each of parts that follow one another with anything between them."""

    def __init__(self, text: str, *, fixed: bool, ignore_case: bool) -> None:
        flags = re.IGNORECASE if ignore_case else 0
        alternatives = [text] if fixed else text.replace(r"\|", "|").split("|")
        self._alternatives = [
            [re.compile(re.escape(part) if fixed else _without_repetition(part), flags) for part in each.split(".*")]
            for each in alternatives
        ]

    def found_in(self, line: str) -> bool:
        return any(_follow_in(line, parts) for parts in self._alternatives)


@command("grep")
async def grep(call: Call) -> int:
    flags = call.takes("i", "v", "c", "E", "F", "n", "q", "e")
    if not call.arguments:
        raise CommandFailed("no REGEX", 2)
    text, *paths = call.arguments
    if len(text) > _LONGEST_PATTERN:
        raise CommandFailed("too long a REGEX", 2)
    try:
        pattern = Pattern(text, fixed="F" in flags, ignore_case="i" in flags)
    except re.error as error:
        raise CommandFailed(f"bad REGEX '{text}': {error.msg}", 2) from None
    lines = await lines_of(call, paths)
    found = [(number, line) for number, line in enumerate(lines, 1) if pattern.found_in(line) != ("v" in flags)]
    if "c" in flags:
        await call.say(str(len(found)))
    elif "q" not in flags:
        await call.say(*(f"{number}:{line}" if "n" in flags else line for number, line in found))
    return 0 if found else 1


def _follow_in(line: str, parts: list[re.Pattern[str]]) -> bool:
    at = 0
    for part in parts:
        found = part.search(line, at)
        if found is None:
            return False
        at = found.end()
    return True


def _without_repetition(part: str) -> str:
    """Dots, anchors, escapes and classes keep their meaning; all else stands for itself."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        letter = part[at]
        found = _CLASS.match(part, at)
        if letter == "\\" and at + 1 < len(part):
            pieces.append(re.escape(part[at + 1]))
            at += 2
        elif found:
            pieces.append(found[0])
            at = found.end()
        else:
            pieces.append(letter if letter in ".^$" else re.escape(letter))
            at += 1
    return "".join(pieces)
