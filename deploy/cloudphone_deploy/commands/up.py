"""`cloudphone up`"""

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cloudphone_deploy.announcement import Announcement, Up
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import DataFolder, refusing
from cloudphone_deploy.supervisor import tail
from cloudphone_deploy.surroundings import data_folder
from cloudphone_deploy.up import up as run_up

DETACHED_SECONDS = 120.0


def up(
    *,
    data: Data = None,
    seed: Annotated[bool, Parameter(help="Fill empty databases with demo data.")] = True,
    quiet: Annotated[bool, Parameter(negative="", help="Say nothing but what goes wrong.")] = False,
    json: Json = False,
    only_servers: Annotated[bool, Parameter(negative="", help="Start no services: for those run by hand.")] = False,
    detach: Annotated[bool, Parameter(negative="", help="Return once all is ready, and leave it running.")] = False,
) -> None:
    """Run the whole platform on this machine, until Ctrl-C or `cloudphone down`.

    Starts PostgreSQL, Valkey, NATS and adb (each only while its URL is not set), creates and migrates the databases,
    fills them with demo data when they are empty, starts simulated phones, all services, workers and both BFFs, starts
    again what crashes, and tells the addresses, which scripts find in `.cloudphone/up.json`. The same command resumes
    with the data kept.

    For example:

    - `cloudphone up`
    - `CLOUDPHONE_PORT_BASE=31000 cloudphone up --data second` runs a second one beside it
    - `CLOUDPHONE_REDIS_URL=redis://cache:6379/0 cloudphone up` uses a Redis of yours; a cluster is
      `redis+cluster://host:port,…`, a master under Sentinel `redis+sentinel://host:port,…/master-name`
    - `cloudphone up --detach --json | jq .bffAdmin`
    """
    folder = data_folder(data)
    style = "json" if json else "quiet" if quiet else "full"
    if detach:
        options = [*([] if seed else ["--no-seed"]), *(["--only-servers"] if only_servers else [])]
        _detached(folder, [*options, *([] if style == "full" else [f"--{style}"])])
    else:
        asyncio.run(run_up(folder, Announcement(style), with_demo=seed, servers_only=only_servers))


def _detached(folder: DataFolder, options: list[str]) -> None:
    """The same command in a session of its own; what it says is shown until it is ready, and kept in up.log."""
    command = [sys.executable, "-m", "cloudphone_deploy", "up", "--data", str(folder.path), *options]
    with refusing(folder.path):
        folder.logs.mkdir(parents=True, exist_ok=True)
        output = folder.logs / "up.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    end = time.monotonic() + DETACHED_SECONDS
    while not _is_up(folder, process.pid):
        if process.poll() is not None:
            lines = tail(output).strip().splitlines() or ["It did not start."]
            raise CommandError(lines[-1].removeprefix("cloudphone: "))
        if time.monotonic() > end:
            process.terminate()
            raise CommandError(
                f"It was not ready within {DETACHED_SECONDS:.0f} s and was stopped; its log is {output}."
            )
        time.sleep(0.05)
    print(output.read_text(), end="", flush=True)


def _is_up(folder: DataFolder, pid: int) -> bool:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(Path(folder.up).read_bytes(), type=Up).pids.get("supervisor") == pid
    return False
