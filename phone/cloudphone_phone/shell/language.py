"""The shell's language: commands, pipes, lists, quotes, redirections, variables. No loops, no functions.

Source: POSIX, chapter "Shell Command Language", of which this is a part.
"""

import re
from typing import Literal, NamedTuple

Then = Literal["always", "success", "failure"]


class Piece(NamedTuple):
    """A part of a word; `variable` means that `text` is one's name."""

    text: str
    variable: bool = False
    quoted: bool = False


Word = tuple[Piece, ...]


class Redirection(NamedTuple):
    """`descriptor` 0, 1 or 2; `target` a file, or the number of the descriptor that it shall be the same as."""

    descriptor: int
    append: bool
    target: Word | int


class Command(NamedTuple):
    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]


class Step(NamedTuple):
    """A pipeline, and when it is run, judged by the status of the one before."""

    when: Then
    pipeline: tuple[Command, ...]


class NotUnderstood(Exception):
    """A syntax error; says near what."""


_OPERATOR = re.compile(r"&&|\|\||[;|\n&]")
_REDIRECTION = re.compile(r"(&>>?|[012]?>&[12]|[012]?>>|[012]?>|0?<)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\}|([?$]))")
_PLAIN = re.compile(r"[^\s'\"\\$;|&<>()`#]+")
_MOST_COMMANDS = 1000


def parse(line: str) -> list[Step]:
    """Raises NotUnderstood."""
    return _Parser(line).steps()


class _Parser:
    def __init__(self, line: str) -> None:
        self._line, self._at = line, 0
        self._commands = 0

    def steps(self) -> list[Step]:
        steps: list[Step] = []
        when: Then = "always"
        while True:
            pipeline, operator = self._pipeline()
            if pipeline:
                steps.append(Step(when, pipeline))
            elif when != "always" or operator in ("&&", "||"):
                raise NotUnderstood(operator or "newline")
            if not operator:
                return steps
            when = {"&&": "success", "||": "failure"}.get(operator, "always")  # pyright: ignore[reportAssignmentType]

    def _pipeline(self) -> tuple[tuple[Command, ...], str]:
        """And the operator that ends it; empty at the end of the line."""
        commands: list[Command] = []
        while True:
            command = self._command()
            operator = self._take(_OPERATOR)
            if command is not None:
                commands.append(command)
                self._commands += 1
                if self._commands > _MOST_COMMANDS:
                    raise NotUnderstood("too many commands")
            elif commands or operator == "|":
                raise NotUnderstood(operator or "newline")
            if operator != "|":
                return tuple(commands), operator

    def _command(self) -> Command | None:
        words: list[Word] = []
        redirections: list[Redirection] = []
        while True:
            self._blanks()
            if self._at >= len(self._line) or (_OPERATOR.match(self._line, self._at) and not self._redirects()):
                break
            operator = self._take(_REDIRECTION)
            if operator:
                redirections.extend(self._redirection(operator))
            else:
                words.append(self._word())
        return Command(tuple(words), tuple(redirections)) if words or redirections else None

    def _redirects(self) -> bool:
        return self._line.startswith("&>", self._at)

    def _redirection(self, operator: str) -> list[Redirection]:
        if operator.startswith("&"):
            self._blanks()
            return [Redirection(1, ">>" in operator, self._word()), Redirection(2, False, 1)]
        descriptor = int(operator[0]) if operator[0].isdigit() else 0 if operator == "<" else 1
        if ">&" in operator:
            return [Redirection(descriptor, False, int(operator[-1]))]
        self._blanks()
        return [Redirection(descriptor, operator.endswith(">>"), self._word())]

    def _word(self) -> Word:
        pieces: list[Piece] = []
        while self._at < len(self._line):
            letter = self._line[self._at]
            if plain := self._take(_PLAIN):
                pieces.append(Piece(plain))
            elif letter == "'":
                pieces.append(Piece(self._until("'"), quoted=True))
            elif letter == '"':
                pieces.extend(self._double_quoted())
            elif letter == "\\":
                pieces.append(Piece(self._line[self._at + 1 : self._at + 2], quoted=True))
                self._at += 2
            elif letter == "$":
                pieces.append(self._variable(quoted=False))
            elif letter == "#" and pieces:
                pieces.append(Piece("#"))
                self._at += 1
            else:
                break
        if not pieces:
            raise NotUnderstood(self._line[self._at : self._at + 1] or "newline")
        return tuple(pieces)

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at + 1)
        if end < 0:
            raise NotUnderstood(f"no closing {quote}")
        text, self._at = self._line[self._at + 1 : end], end + 1
        return text

    def _double_quoted(self) -> list[Piece]:
        pieces = [Piece("", quoted=True)]
        self._at += 1
        while self._at < len(self._line):
            letter = self._line[self._at]
            if letter == '"':
                self._at += 1
                return pieces
            if letter == "\\" and self._line[self._at + 1 : self._at + 2] in ('"', "\\", "$", "`", "\n"):
                pieces.append(Piece(self._line[self._at + 1], quoted=True))
                self._at += 2
            elif letter == "$":
                pieces.append(self._variable(quoted=True))
            elif letter == "`":
                raise NotUnderstood("`")
            else:
                end = next((at for at in range(self._at, len(self._line)) if self._line[at] in '"\\$`'), None)
                end = max(end or len(self._line), self._at + 1)
                pieces.append(Piece(self._line[self._at : end], quoted=True))
                self._at = end
        raise NotUnderstood('no closing "')

    def _variable(self, *, quoted: bool) -> Piece:
        found = _VARIABLE.match(self._line, self._at)
        if found is None:
            if self._line.startswith(("$(", "${"), self._at):
                raise NotUnderstood(self._line[self._at : self._at + 2])
            self._at += 1
            return Piece("$", quoted=quoted)
        self._at = found.end()
        return Piece(found[1] or found[2] or found[3], variable=True, quoted=quoted)

    def _blanks(self) -> None:
        while self._at < len(self._line):
            letter = self._line[self._at]
            if letter == "#":
                end = self._line.find("\n", self._at)
                self._at = len(self._line) if end < 0 else end
            elif letter == "\n" or not letter.isspace():
                return
            else:
                self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._line, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]
