"""Runs lines: looks commands up, joins them by pipes, and minds their status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from . import language
from .call import COMMANDS, Call, CommandFailed
from .language import Command, NotUnderstood, Word
from .streams import Nothing, Pipe, Sink, Source

if TYPE_CHECKING:
    from cloudphone_phone.android.system import Android

NOT_FOUND, SYNTAX, BROKEN_PIPE = 127, 1, 141
_MOST_MATCHES = 10_000
_PIPE_SECONDS = 1.0


class Shell:
    """One shell: where it stands, its variables, the status of its last command."""

    def __init__(self, android: Android) -> None:
        self.android = android
        self.folder = "/"
        self.status = 0
        self.ended = False
        self.variables = {"HOME": "/", "PATH": "/system/bin", "USER": "shell", "TERM": "xterm-256color"}

    async def run(self, line: str, source: Source, out: Sink, err: Sink) -> int:
        """Its last command's status. Raises ConnectionError when the one who reads has gone."""
        try:
            steps = language.parse(line)
        except NotUnderstood as error:
            await err.write(f"/system/bin/sh: syntax error: unexpected '{error}'\n".encode("utf-8", "surrogateescape"))
            self.status = SYNTAX
            return SYNTAX
        for step in steps:
            if step.when == "always" or (step.when == "success") == (self.status == 0):
                self.status = await self._pipeline(step.pipeline, source, out, err)
            if self.ended:
                break
        return self.status

    async def _pipeline(self, commands: Sequence[Command], source: Source, out: Sink, err: Sink) -> int:
        if len(commands) == 1:
            return await self._command(commands[0], source, out, err)
        pipes = [Pipe() for _ in commands[1:]]
        sources: list[Source] = [source, *pipes]
        sinks: list[Sink] = [*pipes, out]
        running = [
            asyncio.create_task(self._stage(command, sources[number], sinks[number], err))
            for number, command in enumerate(commands)
        ]
        try:
            status = await running[-1]
            # Who writes into a closed pipe ends by himself; who has nothing to write would wait for ever.
            await asyncio.wait(running, timeout=_PIPE_SECONDS)
            return status
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _stage(self, command: Command, source: Source, out: Sink, err: Sink) -> int:
        """Closes the pipes on both sides, so that those who wait there go on."""
        try:
            return await self._command(command, source, out, err)
        except BrokenPipeError:
            return BROKEN_PIPE
        finally:
            for pipe in (source, out):
                if isinstance(pipe, Pipe):
                    await pipe.close()

    async def _command(self, command: Command, source: Source, out: Sink, err: Sink) -> int:
        words = [text for word in command.words for text in self._expand(word)]
        try:
            source, out, err = self._redirected(command, source, out, err)
        except OSError as error:
            await err.write(f"/system/bin/sh: can't open {error.filename}: {error.strerror}\n".encode())
            return 1
        if words[:1] == ["exec"]:
            words, self.ended = words[1:], True
        if not words:
            return 0
        name, arguments = words[0], words[1:]
        variable, assigns, value = name.partition("=")
        if assigns and variable.isidentifier():
            if len(self.variables) < 1000:
                self.variables[variable] = value
            return 0
        run = COMMANDS.get(name.removeprefix("/system/bin/"))
        if run is None:
            shown = f"/system/bin/sh: {name}: inaccessible or not found\n"
            await err.write(shown.encode("utf-8", "surrogateescape"))
            return NOT_FOUND
        call = Call(self, name, arguments, source, out, err)
        try:
            return await run(call) or 0
        except CommandFailed as failed:
            if failed.complaint:
                await call.complain(f"{name}: {failed.complaint}")
            return failed.status
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await call.complain(f"{name}: {error.filename or arguments[-1:]}: {error.strerror}")
            return 1

    def _redirected(self, command: Command, source: Source, out: Sink, err: Sink) -> tuple[Source, Sink, Sink]:
        """Raises OSError."""
        sinks = {1: out, 2: err}
        for descriptor, append, target in command.redirections:
            if isinstance(target, int):
                sinks[descriptor] = sinks[target]
                continue
            path = "".join(self._expand(target))
            path = path if path.startswith("/") else f"{self.folder}/{path}"
            if path == "/dev/null":
                source, sinks = (Nothing(), sinks) if descriptor == 0 else (source, {**sinks, descriptor: Nothing()})
            elif descriptor == 0:
                source = self.android.files.source(path)
            else:
                sinks[descriptor] = self.android.files.sink(path, append=append)
        return source, sinks[1], sinks[2]

    def _expand(self, word: Word) -> list[str]:
        """Variables are put in, and names matched; what matches nothing stays as it is."""
        text = "".join(self._variable(piece.text) if piece.variable else piece.text for piece in word)
        patterned = any(not piece.quoted and set("*?[") & set(piece.text) for piece in word)
        if not text and not any(piece.quoted for piece in word):
            return []
        return (self._matching(text) or [text]) if patterned else [text]

    def _variable(self, name: str) -> str:
        return str(self.status) if name == "?" else "1" if name == "$" else self.variables.get(name, "")

    def _matching(self, pattern: str) -> list[str]:
        found = ["/" if pattern.startswith("/") else ""]
        for part in pattern.strip("/").split("/"):
            if len(found) > _MOST_MATCHES:
                return []
            found = [f"{folder}{name}/" for folder in found for name in self._names(folder, part)]
        return [path.removesuffix("/") for path in found]

    def _names(self, folder: str, pattern: str) -> list[str]:
        if not set("*?[") & set(pattern):
            return [pattern]
        path = folder if folder.startswith("/") else f"{self.folder}/{folder}"
        names = self.android.files.names(path) or []
        return sorted(
            name for name in names if fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")
        )
