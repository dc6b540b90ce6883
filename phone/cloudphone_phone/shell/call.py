"""What a command is given, and how commands are found by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from .streams import Sink, Source

if TYPE_CHECKING:
    from cloudphone_phone.android.system import Android

    from .running import Shell

LONGEST_TEXT = 4 << 20
"""Bytes that a command holds at once of what it reads."""


class CommandFailed(Exception):
    """Ends a command: what it complains of, and its status."""

    def __init__(self, complaint: str = "", status: int = 1) -> None:
        super().__init__(complaint)
        self.complaint, self.status = complaint, status


class Call:
    """One call of a command: `arguments` without its name."""

    def __init__(self, shell: Shell, name: str, arguments: list[str], source: Source, out: Sink, err: Sink) -> None:
        self.shell, self.name, self.arguments = shell, name, arguments
        self.source, self.out, self.err = source, out, err

    @property
    def android(self) -> Android:
        return self.shell.android

    async def say(self, *lines: str) -> None:
        if lines:
            await self.out.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    async def complain(self, *lines: str) -> None:
        await self.err.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    def path(self, argument: str) -> str:
        """An absolute one, from where the shell stands."""
        return argument if argument.startswith("/") else f"{self.shell.folder}/{argument}"

    def takes(self, *flags: str) -> set[str]:
        """Takes single-letter options from the arguments. Raises CommandFailed for another."""
        found: set[str] = set()
        while self.arguments and self.arguments[0].startswith("-") and len(self.arguments[0]) > 1:
            option = self.arguments.pop(0)
            if option == "--":
                break
            unknown = set(option[1:]) - set(flags)
            if unknown:
                raise CommandFailed(f"Unknown option '{min(unknown)}' (see \"{self.name} --help\")")
            found.update(option[1:])
        return found

    def option(self, *names: str, default: str = "") -> str:
        """Takes an option and its value from the arguments, wherever they are."""
        for name in names:
            if name in self.arguments[:-1]:
                at = self.arguments.index(name)
                value = self.arguments[at + 1]
                del self.arguments[at : at + 2]
                return value
        return default

    def flag(self, *names: str) -> bool:
        """Takes an option without a value from the arguments, wherever it is."""
        present = [name for name in names if name in self.arguments]
        self.arguments = [argument for argument in self.arguments if argument not in present]
        return bool(present)


Run: TypeAlias = Callable[[Call], Awaitable[int | None]]

COMMANDS: dict[str, Run] = {}


def command(*names: str) -> Callable[[Run], Run]:
    """Registers what runs when one of `names` is called; None for its status means 0."""

    def register(run: Run) -> Run:
        COMMANDS.update(dict.fromkeys(names, run))
        return run

    return register
