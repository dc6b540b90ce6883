"""Which services a phone has, by the name they are opened with."""

from collections.abc import Callable

from cloudphone_phone import commands as _commands
from cloudphone_phone.android.system import Android
from cloudphone_phone.shell.running import Shell

from .connection import Service
from .shell_protocol import interact_apart, interact_plain, run_apart, run_plain
from .stream import Stream
from .sync import Sync

_ = _commands
"""Imported for the programs that it makes known."""
_REFUSED = {
    "root": "adbd cannot run as root in production builds\n",
    "unroot": "adbd not running as root\n",
    "remount": "remount failed: adbd cannot run as root in production builds\n",
    "tcpip": "this phone has one port, and keeps it\n",
    "usb": "this phone has no USB\n",
    "disable-verity": "verity cannot be disabled: production build\n",
    "enable-verity": "verity is enabled\n",
}


def find_service(android: Android, name: str) -> Service | None:
    """None for one that this phone does not have, such as forwarding."""
    kind, _, argument = name.partition(":")
    kind, *options = kind.split(",")
    if kind == "shell":
        return _shell(android, options, argument)
    if kind == "exec":
        return lambda stream: run_plain(stream, Shell(android), argument)
    if kind == "sync":
        return lambda stream: Sync(stream, android.files).serve()
    if kind == "reboot":
        return _then(android.power_off if argument == "shutdown" else android.restart)
    if kind == "reverse":
        return _says(_refusal("reverse forwarding is not offered"))
    return _says(_REFUSED[kind].encode()) if kind in _REFUSED else None


def _shell(android: Android, options: list[str], line: str) -> Service:
    shell = Shell(android)
    for option in options:
        if option.startswith("TERM="):
            shell.variables["TERM"] = option[5:]
    if "v2" in options:
        if line:
            return lambda stream: run_apart(stream, shell, line)
        return lambda stream: interact_apart(stream, shell, terminal="pty" in options or "raw" not in options)
    return (lambda stream: run_plain(stream, shell, line)) if line else (lambda stream: interact_plain(stream, shell))


def _says(words: bytes) -> Service:
    async def say(stream: Stream) -> None:
        await stream.write(words)

    return say


def _then(act: Callable[[], None]) -> Service:
    async def do(stream: Stream) -> None:
        act()

    return do


def _refusal(words: str) -> bytes:
    """As the host's own protocol tells a failure."""
    return f"FAIL{len(words):04x}{words}".encode()
