"""`cloudphone serve`"""

import os
from typing import Annotated

from cyclopts import Parameter

from cloudphone_deploy import processes
from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_shared.observability.logging import configure_logging
from cloudphone_shared.observability.tracing import configure_tracing, shutdown_tracing
from cloudphone_shared.settings import Network, Telemetry, load


def serve(
    *names: str,
    port: Annotated[
        int | None, Parameter(help="Instead of the usual port; for exactly one name that speaks HTTP.")
    ] = None,
    data: Data = None,
) -> None:
    """Run any set of processes in this one, until SIGTERM or Ctrl-C.

    Names: `user`, `device`, `app`, `scheduler`, `billing` (HTTP), each with a `-worker` (outbox relay, subscribers,
    timers), `phones` (the farm of simulated phones), `cache-worker`, `bff-admin`, `bff-user`, `bff-user-worker` (live
    events). Beside a running `cloudphone up` it joins that one's servers.

    For example:

    - `cloudphone serve user user-worker`
    - `cloudphone serve bff-admin --port 31010` adds a process to the same installation
    """
    if not names:
        raise CommandError(f"Say what to serve: any of {', '.join(processes.UNITS)}.")
    os.environ.update(of_running(data_folder(data)))
    telemetry, network = load(Telemetry), load(Network)
    speaking = [name for name in names if processes.has_http(name)]
    if port is not None and len(speaking) != 1:
        raise CommandError("--port needs exactly one name that speaks HTTP.")
    configure_logging(telemetry.log_level, telemetry.log_format)
    configure_tracing(names[0], otlp_url=telemetry.otlp_url, sample_ratio=telemetry.trace_sample_ratio)
    listening = {name: (port or network.port_of(name)) if name in speaking else None for name in names}
    try:
        processes.serve(listening, host=network.host)
    finally:
        shutdown_tracing()
