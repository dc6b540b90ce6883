"""Units for `serve` that need no server: an app that tells its lifespan, workers that last, fail or hold on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


def create_app() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                print(f"app {step}", flush=True)
                await send({"type": f"lifespan.{step}.complete"})
            return
        if scope["path"] == "/slow":
            print("slow request", flush=True)
            await asyncio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    return app


def create_failing_app() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("no database")

    return app


async def run() -> None:
    print("worker began", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("worker ended", flush=True)


@asynccontextmanager
async def run_in_context() -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.Event().wait())
        yield
        task.cancel()
    print("context left", flush=True)


async def run_and_fail() -> None:
    await asyncio.sleep(0.05)
    raise RuntimeError("boom")


async def run_and_hold_on() -> None:
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("holding on", flush=True)


def main() -> None:
    """`standin.py NAME[=PORT]…`"""
    import sys

    from cloudphone_deploy import processes
    from cloudphone_deploy.errors import CommandError
    from cloudphone_deploy.processes import Unit

    here = "tests.deploy.standin"
    units = {
        "app": (Unit("http", f"{here}:create_app"),),
        "other-app": (Unit("http", f"{here}:create_app"),),
        "failing-app": (Unit("http", f"{here}:create_failing_app"),),
        "worker": (Unit("worker", f"{here}:run"),),
        "context": (Unit("worker", f"{here}:run_in_context"),),
        "failing": (Unit("worker", f"{here}:run_and_fail"),),
        "holding": (Unit("worker", f"{here}:run_and_hold_on"),),
    }
    words = [word.partition("=") for word in sys.argv[1:]]
    # Whoever holds on is cut off soon; nobody else is, however slow the machine.
    processes.STOP_SECONDS = 0.5 if ["holding", "", ""] in map(list, words) else 120.0
    try:
        processes.serve({name: int(port) if port else None for name, _, port in words}, units=units)
    except CommandError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
