"""`cloudphone warmup …`"""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cloudphone_deploy.commands.asking import asking
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts.warmup import WarmupRun, WarmupSchedule, WarmupStatus

app = cyclopts.App(
    name="warmup",
    help=(
        "The job that fills the cache for the most recently active users.\n\n"
        "One process of all runs it, on a schedule and when asked; two that ask at once get the same run."
    ),
    help_format="markdown",
)


SHOWN_FAILURES = 5


@app.command
def run(
    *,
    wait: Annotated[bool, Parameter(help="Show its progress until it is done.")] = True,
    json: Json = False,
    data: Data = None,
) -> None:
    """Start a run now, or join the one under way, and follow it. Exit code 1 when it failed.

    For example:

    - `cloudphone warmup run`
    - `cloudphone warmup run --no-wait --json | jq -r .id`
    """
    done = uvloop.run(_run(data, wait=wait, quiet=json))
    print(plain(done) if json else _sentence(done))
    if done.state == "failed":
        raise SystemExit(1)


@app.command
def status(*, json: Json = False, data: Data = None) -> None:
    """The schedule, who runs it, when next, and how the last run went."""
    _tell(uvloop.run(_ask(data, "status")), json)


@app.command
def history(
    *,
    limit: Annotated[int, Parameter(help="At most so many runs, 1 to 100.")] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """The latest runs: views, filled, skipped, failed with reasons, duration."""
    runs: list[WarmupRun] = uvloop.run(_ask(data, "runs", limit=limit)).items
    if json:
        print(plain(runs))
        return
    headings = ("requested", "trigger", "state", "views", "filled", "skipped", "failed", "seconds")
    Console().print(table(headings, [_row(run) for run in runs]))
    for run in runs:
        for failure in run.failures[:SHOWN_FAILURES]:
            print(f"{_moment(run.requested_at)}  {failure.key}: {failure.reason}")


@app.command
def pause(*, json: Json = False, data: Data = None) -> None:
    """Let the schedule rest until `cloudphone warmup resume`. A run under way goes on."""
    _tell(uvloop.run(_ask(data, "pause")), json)


@app.command
def resume(*, json: Json = False, data: Data = None) -> None:
    """Go on with the schedule."""
    _tell(uvloop.run(_ask(data, "resume")), json)


@app.command
def schedule(cron: str, /, *, json: Json = False, data: Data = None) -> None:
    """Set when it runs: a cron line of five fields, in UTC. It outlasts restarts.

    For example: `cloudphone warmup schedule "*/10 6-22 * * *"`
    """
    _tell(uvloop.run(_ask(data, "reschedule", WarmupSchedule(cron=cron))), json)


async def _ask(data: Path | None, question: str, *arguments: Any, **named: Any) -> Any:
    async with asking("cache-worker", data) as http:
        return await getattr(WarmupClient(http), question)(*arguments, **named)


async def _run(data: Path | None, *, wait: bool, quiet: bool) -> WarmupRun:
    async with asking("cache-worker", data) as http:
        client = WarmupClient(http)
        current = await client.trigger()
        if not wait:
            return current
        with _progress(quiet) as progress:
            bar = progress.add_task("waiting for its turn", total=None)
            while current.state in ("queued", "running"):
                await asyncio.sleep(0.2)
                current = await client.run(current.id)
                seen = current.filled + current.skipped + current.failed
                progress.update(bar, description=current.state, total=current.total or None, completed=seen)
        return current


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)


def _tell(status: WarmupStatus, json: bool) -> None:
    if json:
        print(plain(status))
        return
    state = "paused" if status.paused else f"next at {_moment(status.next_run_at)}" if status.next_run_at else "waiting"
    print(
        f"Schedule {status.schedule} (UTC), {state}; run by {status.leader or 'nobody: is the cache worker running?'}"
    )
    for name, one in (("now", status.current), ("last", status.last)):
        if one:
            print(f"{name}: {_sentence(one)}")


def _sentence(run: WarmupRun) -> str:
    took = f" in {run.duration_ms / 1000:.1f} s" if run.duration_ms is not None else ""
    reasons = "".join(f"\n  {failure.key}: {failure.reason}" for failure in run.failures[:SHOWN_FAILURES])
    if len(run.failures) > SHOWN_FAILURES:
        reasons += f"\n  and {len(run.failures) - SHOWN_FAILURES} more, with --json"
    counts = f"{run.filled} filled, {run.skipped} fresh already, {run.failed} failed"
    return f"{run.state}: {run.total} views, {counts}{took}{reasons}"


def _row(run: WarmupRun) -> list[str]:
    seconds = f"{run.duration_ms / 1000:.1f}" if run.duration_ms is not None else ""
    counts = (run.total, run.filled, run.skipped, run.failed)
    return [_moment(run.requested_at), run.trigger, run.state, *(str(count) for count in counts), seconds]


def _moment(at: datetime) -> str:
    return at.astimezone().isoformat(sep=" ", timespec="seconds")
