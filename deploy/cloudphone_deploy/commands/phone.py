"""`cloudphone phone`"""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter, validators

from cloudphone_deploy import ports
from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.surroundings import data_folder
from cloudphone_phone import Faults, Model, Phone, VolumeUnusable
from cloudphone_shared.observability.logging import configure_logging
from cloudphone_shared.settings import Telemetry, load

# From 5555 to 5585 adb takes what it finds for an emulator, and lists it twice.
USUAL_PORT = 5600


def phone(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))] = USUAL_PORT,
    volume: Annotated[
        Path | None, Parameter(help="What the phone remembers; by default `phone-PORT` in the data folder.")
    ] = None,
    data: Data = None,
    boot_seconds: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 2.0,
    offline: Annotated[bool, Parameter(negative="", help="adbd takes connections and never answers.")] = False,
    unauthorized: Annotated[bool, Parameter(negative="", help="adbd accepts nobody's key.")] = False,
    disk_full: Annotated[bool, Parameter(negative="", help="There is no space left.")] = False,
    install_failure: Annotated[
        str | None, Parameter(help="Each installation fails with this code, INSTALL_FAILED_….")
    ] = None,
) -> None:
    """Run one simulated phone until it is switched off or Ctrl-C; adb talks to it as to any other.

    For example:

    - `cloudphone phone --port 5600`, then `adb connect 127.0.0.1:5600`
    - `cloudphone phone --port 5601 --boot-seconds 60 --disk-full`
    """
    telemetry = load(Telemetry)
    configure_logging(telemetry.log_level, telemetry.log_format)
    ports.require_free({"the phone": port}, advice="choose another with --port")
    simulated = Phone(
        volume or data_folder(data).path / f"phone-{port}",
        model=Model(serial=f"CP{port}", boot_seconds=boot_seconds),
        port=port,
        faults=Faults(
            offline=offline,
            unauthorized=unauthorized,
            disk_full=disk_full,
            install_failure=install_failure,
        ),
    )
    try:
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_run(simulated))
    except (VolumeUnusable, OSError) as error:
        raise CommandError(f"The phone cannot be started: {error}.") from None


async def _run(simulated: Phone) -> None:
    """Until it is off, or we are told to end."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await simulated.start()
    host, port = simulated.address
    print(f"A phone listens: adb connect {host}:{port}", flush=True)
    booted = asyncio.create_task(_tell_when_booted(simulated))
    ends = [asyncio.create_task(told.wait()), asyncio.create_task(simulated.until("off", "crashed"))]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in (*ends, booted):
        task.cancel()
    await simulated.stop()


async def _tell_when_booted(simulated: Phone) -> None:
    await simulated.until("running")
    print("It has booted.", flush=True)
