"""What `cloudphone serve NAME…` can run: HTTP apps and workers, any set of them in one process and one event loop."""

import asyncio
import gc
import importlib
import logging
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import msgspec
import structlog
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from cloudphone_deploy import ports
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.lifespan import started

log = structlog.get_logger()

STOP_SECONDS = 10.0
"""From the signal to the end, requests in flight and workers included; what is not done by then is cut off."""

GC_THRESHOLDS = (50_000, 20, 100)


class Unit(msgspec.Struct, frozen=True):
    """`target` is `module:name`: makes an app (`http`), or what a worker runs: a coroutine or async context manager"""

    kind: Literal["http", "worker"]
    target: str


def _http(package: str) -> Unit:
    return Unit("http", f"{package}.main:create_app")


def _worker(package: str) -> Unit:
    return Unit("worker", f"{package}.worker:run")


UNITS: dict[str, tuple[Unit, ...]] = {
    "user": (_http("cloudphone_core.user"),),
    "user-worker": (_worker("cloudphone_core.user"),),
    "device": (_http("cloudphone_core.device"),),
    "device-worker": (_worker("cloudphone_core.device"),),
    "app": (_http("cloudphone_core.app"),),
    "app-worker": (_worker("cloudphone_core.app"),),
    "scheduler": (_http("cloudphone_core.scheduler"),),
    "scheduler-worker": (_worker("cloudphone_core.scheduler"),),
    "phones": (Unit("worker", "cloudphone_deploy.phones:run"),),
    "billing": (_http("cloudphone_core.billing"),),
    "card-provider": (Unit("http", "cloudphone_deploy.card_provider.main:create_app"),),
    "billing-worker": (_worker("cloudphone_core.billing"),),
    "cache-worker": (_http("cloudphone_cache.platform"), _worker("cloudphone_cache.platform")),
    "bff-admin": (_http("cloudphone_bff_admin"),),
    "bff-user": (_http("cloudphone_bff_user"),),
    "bff-user-worker": (_worker("cloudphone_bff_user"),),
}
"""By serve name. Modules are imported only when their unit is started."""


def serve(
    listening: dict[str, int | None], *, host: str = "127.0.0.1", units: dict[str, tuple[Unit, ...]] = UNITS
) -> None:
    """Runs until SIGTERM or SIGINT. `listening`: the port of each unit name, None for one that is only a worker.

    Raises CommandError for an unknown name, a taken port, or a unit that did not come up or ended by itself.
    """
    for name in listening:
        if name not in units:
            raise CommandError(f"There is no process {name!r} to serve: choose from {', '.join(units)}.")
    wanted = {name: port for name, port in listening.items() if port is not None}
    ports.require_free(wanted, advice="stop that one, or choose others with CLOUDPHONE_PORT_BASE or --port")
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(listening, host, units))


def preload(names: Iterable[str], units: dict[str, tuple[Unit, ...]] = UNITS) -> None:
    """Import what `serve` will need, which is most of the time that a start takes."""
    for name in names:
        for unit in units.get(name, ()):
            importlib.import_module(unit.target.partition(":")[0])


def has_http(name: str, units: dict[str, tuple[Unit, ...]] = UNITS) -> bool:
    return any(unit.kind == "http" for unit in units.get(name, ()))


async def _serve(listening: dict[str, int | None], host: str, units: dict[str, tuple[Unit, ...]]) -> None:
    run = asyncio.create_task(_run(listening, host, units))
    stop = asyncio.create_task(_stop_signal().wait())
    await asyncio.wait([run, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if run.done():
        run.result()
        return
    run.cancel()
    done, _ = await asyncio.wait([run], timeout=STOP_SECONDS)
    if not done:
        log.warning("stop_cut_short", seconds=STOP_SECONDS)
        os._exit(1)
    log.info("stopped", units=list(listening))


async def _run(listening: dict[str, int | None], host: str, units: dict[str, tuple[Unit, ...]]) -> None:
    """One task from start to end, because task groups must be left by the task that entered them."""
    async with AsyncExitStack() as stack:
        running = await _start(stack, listening, host, units)
        settle_memory()
        log.info("serving", units=list(listening))
        try:
            await _first_end(running)
        except asyncio.CancelledError:
            # Told to stop: what was entered is left in the ordinary way, with nothing raised into it.
            return


async def _start(
    stack: AsyncExitStack, listening: dict[str, int | None], host: str, units: dict[str, tuple[Unit, ...]]
) -> dict[str, asyncio.Task[Any]]:
    """Apps first, then workers, listeners last, so that they end in the opposite order."""
    running: dict[str, asyncio.Task[Any]] = {}
    apps: dict[str, Any] = {}
    for name, unit in _of(listening, units, "http"):
        apps[name] = _load(unit)()
        await _named(name, stack.enter_async_context(started(apps[name])))
    for name, unit in _of(listening, units, "worker"):
        task = await _named(name, stack.enter_async_context(_working(_load(unit)())))
        if task is not None:
            running[name] = task
    for name, app in apps.items():
        port = listening[name]
        if port is not None:
            running[f"{name} (port {port})"] = await stack.enter_async_context(_listening(app, host, port))
    return running


def _of(
    names: Iterable[str], units: dict[str, tuple[Unit, ...]], kind: Literal["http", "worker"]
) -> list[tuple[str, Unit]]:
    return [(name, unit) for name in names for unit in units[name] if unit.kind == kind]


def _load(unit: Unit) -> Callable[[], Any]:
    module, _, name = unit.target.partition(":")
    return getattr(importlib.import_module(module), name)


async def _named(name: str, starting: Awaitable[Any]) -> Any:
    try:
        return await starting
    except Exception:
        log.exception("start_failed", unit=name)
        raise CommandError(f"{name} did not start: its log above says why.") from None


@asynccontextmanager
async def _working(work: AbstractAsyncContextManager[Any] | Awaitable[Any]) -> AsyncGenerator[asyncio.Task[Any] | None]:
    """A worker given as context manager runs its own tasks; one given as coroutine is run until cancelled."""
    if isinstance(work, AbstractAsyncContextManager):
        async with work:
            yield None
        return
    task = asyncio.ensure_future(work)
    try:
        yield task  # pyright: ignore[reportReturnType]
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _listening(app: Any, host: str, port: int) -> AsyncGenerator[asyncio.Task[None]]:
    """Ends once the requests in flight are answered."""
    server = Server(app, address=host, port=port, interface=Interfaces.ASGINL, backlog=2048, log_enabled=False)
    # It calls its embedding experimental on every start, whatever log_enabled says.
    logging.getLogger("_granian").setLevel(logging.CRITICAL)
    task = asyncio.create_task(server.serve())
    try:
        await _answering(task, host, port)
        yield task
    finally:
        server.stop()
        await asyncio.wait([task])


async def _answering(task: asyncio.Task[None], host: str, port: int) -> None:
    while not task.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    task.result()


async def _first_end(running: dict[str, asyncio.Task[Any]]) -> None:
    """Waits for as long as all is well. Raises CommandError once one of `running` has ended."""
    if not running:
        await asyncio.Event().wait()
    await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    for name, task in running.items():
        if task.done():
            log.error("ended_by_itself", unit=name, exc_info=None if task.cancelled() else task.exception())
            raise CommandError(f"{name} ended by itself: its log above says why.")


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def settle_memory() -> None:
    """What a started process holds stays: the collector passes it over, and runs rarely enough for the p99."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
