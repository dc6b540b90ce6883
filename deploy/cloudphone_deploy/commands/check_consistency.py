"""`cloudphone check-consistency`"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TypedDict, Unpack

import msgspec
import uvloop
from cyclopts import Parameter
from rich.console import Console

from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.consistency import monitor
from cloudphone_deploy.consistency.faults import FAULTS
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.nemesis import Nemesis
from cloudphone_deploy.consistency.progress import Lines, Screen, summarise
from cloudphone_deploy.consistency.report import prepare, write_report
from cloudphone_deploy.consistency.result import Result
from cloudphone_deploy.consistency.run import READS_PER_SECOND, check
from cloudphone_deploy.consistency.store import Kind
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.settings import SettingsError

_KNOWN = "\n".join(f"  {name:<20} {fault.says}" for name, fault in FAULTS.items())
CANNOT = 2
"""Exit code when nothing could be said of the consistency."""
INTERRUPTED = 130
"""Exit code when it was ended before its time and nothing wrong had been seen by then."""


class Choices(TypedDict):
    """Of a run."""

    seconds: float
    seed: int
    rate: float
    readers: int
    pace: float


def check_consistency(
    *,
    seconds: Annotated[float | None, Parameter(help="How long to check: 60 by default, a monitor without end.")] = None,
    faults: Annotated[
        str, Parameter(help="`none`, `all`, or names, as in `kill-bff,flush-redis`; `list` says what there is.")
    ] = "none",
    seed: Annotated[int | None, Parameter(help="Decides faults and choices; the same one repeats them.")] = None,
    rate: Annotated[float, Parameter(help="Changes per second.")] = 50.0,
    reads: Annotated[
        float | None,
        Parameter(help="Reads per second at most, 0 for all that the machine can: 1500 by default, a monitor 20."),
    ] = None,
    readers: Annotated[int, Parameter(help="Connections that read, shared out among the processes.")] = 12,
    bffs: Annotated[int, Parameter(help="Processes of each BFF.")] = 2,
    redis: Annotated[
        Kind | None, Parameter(help="One server, a pair under Sentinel (to fail over, if that is named), or a cluster.")
    ] = None,
    bus: Annotated[Literal["nats", "rabbitmq"], Parameter(help="The broker; RabbitMQ has to be installed.")] = "nats",
    report: Annotated[Path | None, Parameter(help="A folder for report.html and report.json.")] = None,
    target: Annotated[
        list[str] | None, Parameter(help="Watch the admin BFF at this URL instead, by reads alone; may be repeated.")
    ] = None,
    metrics_port: Annotated[int | None, Parameter(help="With --target: Prometheus metrics of the monitor.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Measure whether what the cache serves as fresh is fresh, and publish the number of nines.

    Starts a platform of its own in a temporary folder, with several processes of each BFF; changes names at the
    services; reads the views that show them; and holds every answer against what the services' outboxes say was
    committed, and when. With faults, processes and servers are killed, frozen, emptied, set back and cut off meanwhile,
    and clocks set wrong.

    With --target it watches a running deployment by reads alone, as a monitor.

    Ctrl-C and SIGTERM end it early, with the result of what was seen until then.

    Exit code 0: consistent. 1: an answer claimed to be fresher than it was, or passed for fresh more than 1 s (3 s with
    faults) after a newer change. 2: nothing could be said. 130: ended early, and nothing wrong was seen by then.

    For example:

    - `cloudphone check-consistency`
    - `cloudphone check-consistency --seconds 600 --faults all --seed 7 --report build/consistency`
    - `cloudphone check-consistency --faults all --redis cluster --bus rabbitmq`
    - `cloudphone check-consistency --target https://admin.example.com --metrics-port 9200`
    """
    try:
        if faults == "list":
            print(_KNOWN)
            return
        if target:
            _need(faults == "none", "--faults harms what it is pointed at: a monitor makes none.")
            _need(redis is None and bus == "nats", "--redis and --bus say what to start: a monitor starts none.")
            _watch(target, data, seconds=seconds, reads=reads, metrics_port=metrics_port, json=json)
        _need(metrics_port is None, "--metrics-port belongs to a monitor: say which deployment with --target.")
        _need(
            (seconds is None or seconds >= 5) and rate >= 1 and readers >= 4 and bffs >= 2 and (reads or 0) >= 0,
            "It takes at least --seconds 5, --rate 1, --readers 4 and --bffs 2 to see anything.",
        )
        names = _fault_names(faults)
        if report is not None:
            prepare(report)
        seed = random.randrange(1_000_000) if seed is None else seed
        kind: Kind = redis or ("sentinel" if names and "failover" in names else "single")
        result = uvloop.run(
            _run(
                partial(Laboratory, bffs=bffs, redis=kind, bus=bus),
                partial(Nemesis, seed=seed, names=names) if names != [] else None,
                quiet=json,
                seconds=seconds or 60.0,
                seed=seed,
                rate=rate,
                readers=readers,
                pace=READS_PER_SECOND if reads is None else reads,
            )
        )
    except (CommandError, SettingsError) as error:
        _cannot(str(error))
    except DomainError as refusal:
        _cannot(f"{refusal}.")
    except Unavailable as outage:
        _cannot(f"The {outage.service} service gives no answer ({outage.reason}): is it running?")
    _tell(result, report, json=json)
    raise SystemExit(exit_code(result))


def exit_code(result: Result) -> int:
    if result.failures:
        return 1
    if not result.checks:
        return CANNOT
    if result.interrupted:
        return INTERRUPTED
    return CANNOT if result.cut_short else 0


async def _run(
    platform: Callable[[Path], Laboratory],
    nemesis: Callable[[Laboratory], Nemesis] | None,
    *,
    quiet: bool,
    **choices: Unpack[Choices],
) -> Result:
    console = Console(stderr=True, highlight=False, quiet=quiet)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_passable_folder())
        with console.status("Starting a platform to check …"):
            laboratory = await stack.enter_async_context(platform(folder / "data"))
        bffs = len(laboratory.bff_admins)
        console.print(f"[green]✓[/] A platform with {bffs} + {bffs} BFFs [dim]{time.monotonic() - began:.1f} s[/]")
        progress = stack.enter_context(Screen(console) if console.is_terminal else Lines(console))
        made = nemesis(laboratory) if nemesis else None
        enough = stack.enter_context(until_told())
        return await check(laboratory, faults=made, progress=progress, enough=enough, **choices)


@contextmanager
def until_told() -> Generator[asyncio.Event]:
    """Set by Ctrl-C and SIGTERM. Told a second time, the process ends at once."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def tell() -> None:
        told.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, tell)
    try:
        yield told
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def _passable_folder() -> Generator[Path]:
    """A temporary folder that whoever PostgreSQL runs as can get through."""
    with tempfile.TemporaryDirectory(prefix="cloudphone-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def _watch(
    targets: list[str],
    data: Path | None,
    *,
    seconds: float | None,
    reads: float | None,
    metrics_port: int | None,
    json: bool,
) -> NoReturn:
    watching = monitor.Monitor(targets, data, reads=reads)
    found = uvloop.run(monitor.watch(watching, seconds=seconds, metrics_port=metrics_port, json=json))
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        monitor.summarise(found, Console(highlight=False))
    raise SystemExit(1 if not found.consistent else 0 if found.checks else CANNOT)


def _fault_names(faults: str) -> list[str] | None:
    """None for all that the platform can suffer. Raises CommandError for one that there is not."""
    if faults in ("none", "all"):
        return None if faults == "all" else []
    names = [name.strip() for name in faults.split(",") if name.strip()]
    unknown = [name for name in names if name not in FAULTS]
    if unknown or not names:
        wrong = f"There is no fault {unknown[0]!r}" if unknown else "Say which faults"
        raise CommandError(f"{wrong}: `none`, `all`, or any of\n{_KNOWN}")
    return names


def _tell(result: Result, report: Path | None, *, json: bool) -> None:
    where = write_report(result, report) if report is not None else None
    if json:
        print(msgspec.json.encode(result).decode())
        return
    summarise(result, Console(highlight=False))
    if where is not None:
        print(f"The report is {where}.")


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CommandError(otherwise)


def _cannot(sentence: str) -> NoReturn:
    print(f"cloudphone: {sentence}", file=sys.stderr)
    raise SystemExit(CANNOT) from None
