"""The nursery itself, a program without threads or an event loop, so that it may fork at any time."""

import gc
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType

import httpx
import msgspec
from litestar import Litestar, get

from cloudphone_deploy import cli, launch, prepare, processes
from cloudphone_deploy.nursery import Order, Told
from cloudphone_shared.auth import tls


def main() -> None:
    """Forks as ordered on standard input, tells on standard output, and ends when its input does."""
    processes.preload(processes.UNITS)
    _make_ready()
    gc.collect()
    gc.freeze()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _note)
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        unread = b""
        while True:
            ready = {key.fd for key, _ in waiting.select()}
            if woken in ready:
                with suppress(BlockingIOError):
                    os.read(woken, 4096)
                _tell_ends()
            if sys.stdin.fileno() in ready:
                read = os.read(sys.stdin.fileno(), 65_536)
                if not read:
                    return
                *lines, unread = (unread + read).split(b"\n")
                for line in lines:
                    _bear(msgspec.json.decode(line, type=Order))


def _make_ready() -> None:
    """What is imported or read only once somebody makes an app or a client."""
    Litestar([get("/")(_nothing)], logging_config=None)
    httpx.AsyncClient(verify=tls())


async def _nothing() -> None: ...


def _note(number: int, frame: FrameType | None) -> None:
    """Wakes the selector; without a handler the signal would be ignored."""


def _bear(order: Order) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _live(order, parent)
    _tell(Told("born", pid))


def _live(order: Order, parent: int) -> None:
    code = 1
    try:
        _settle(order, parent)
        code = _run(order.words)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _settle(order: Order, parent: int) -> None:
    os.setsid()
    launch.die_with(parent, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    launch.rename(order.words[1] if order.words[0] == "serve" else order.words[0])


def _run(words: list[str]) -> int:
    try:
        if words[0] == "prepare":
            prepare.main(words[1:])
        else:
            cli.main(words)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _tell_ends() -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell(Told("ended", pid, os.waitstatus_to_exitcode(status)))


def _tell(told: Told) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(told) + b"\n")


if __name__ == "__main__":
    main()
