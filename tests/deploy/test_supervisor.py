"""The supervisor keeps small real programs running, and ends them however they or it behave."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cloudphone_deploy import launch
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.nursery import Nursery
from cloudphone_deploy.supervisor import Program, Supervisor, launched
from tests.conditions import eventually

pytestmark = pytest.mark.anyio

READY = "import pathlib, signal, sys, time; pathlib.Path(sys.argv[1]).touch(); "
LASTING = READY + "time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LASTING


def program(folder: Path, code: str, *, name: str = "stand-in", stop_seconds: float = 120) -> Program:
    """Ready once it has made its file, which is removed before each start."""
    file = folder / f"{name}.ready"

    async def ready() -> bool:
        return file.exists()

    return Program(
        name=name,
        command=[sys.executable, "-c", code, str(file)],
        ready=ready,
        env=dict(os.environ),
        prepare=lambda: file.unlink(missing_ok=True),
        stop_seconds=stop_seconds,
    )


async def test_a_crash_is_answered_by_restarts_further_and_further_apart(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(tmp_path, tell=said.append)
    await supervisor.start(program(tmp_path, READY + "print('out of luck'); sys.exit(3)"))

    def pauses() -> list[str]:
        return [line.split(" in ")[1] for line in said if "started again" in line]

    await eventually(lambda: len(pauses()) >= 3)
    await supervisor.stop()
    assert pauses()[:3] == ["0.2 s", "0.4 s", "0.8 s"]
    assert said[0] == "stand-in ended (exit code 3): out of luck"


async def test_a_killed_program_comes_back_with_a_new_pid(tmp_path: Path) -> None:
    changes: list[dict[str, int]] = []
    supervisor = Supervisor(tmp_path, tell=lambda line: None, changed=lambda: changes.append(supervisor.pids()))
    await supervisor.start(program(tmp_path, LASTING))
    before = supervisor.pids()["stand-in"]
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: changes)
    assert changes[0]["stand-in"] != before
    await supervisor.stop()
    assert not psutil.pid_exists(changes[0]["stand-in"])


async def test_a_program_that_ends_before_it_is_ready_is_quoted(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, tell=lambda line: None)
    with pytest.raises(CommandError, match=r"stand-in did not start \(no luck\); its log is .*stand-in.log"):
        await supervisor.start(program(tmp_path, "import sys; sys.exit('no luck')"))
    await supervisor.stop()


async def test_a_program_that_ignores_its_signal_is_killed_in_time(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, tell=lambda line: None)
    await supervisor.start(program(tmp_path, STUBBORN, stop_seconds=0.3))
    pid = supervisor.pids()["stand-in"]
    async with asyncio.timeout(60):
        await supervisor.stop()
    assert not psutil.pid_exists(pid)


async def test_programs_stop_group_after_group(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import pathlib, signal, sys, time\ndef end(*_):\n"
        f"    time.sleep(0.1); open({str(order)!r}, 'a').write(sys.argv[1].split('/')[-1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    )
    supervisor = Supervisor(tmp_path, tell=lambda line: None)
    for name in ("store", "service", "front"):
        await supervisor.start(program(tmp_path, code, name=name))
    await supervisor.stop(["service"], ["store"])
    assert order.read_text().split() == ["front.ready", "service.ready", "store.ready"]


async def test_a_program_whose_supervisor_is_gone_already_never_begins(tmp_path: Path) -> None:
    file = tmp_path / "begun"
    bare = [sys.executable, "-I", "-S", launch.__file__, "1" if os.getpid() != 1 else "2", "9", "same"]
    done = await asyncio.to_thread(subprocess.run, [*bare, "/bin/touch", str(file)], capture_output=True, check=False)
    assert done.returncode != 0
    assert not file.exists()


async def test_a_program_dies_with_its_supervisor(tmp_path: Path) -> None:
    supervisor = (
        "import subprocess; from cloudphone_deploy.supervisor import launched; "
        "p = subprocess.Popen(launched(['/bin/sleep', '60'])); print(p.pid, flush=True); p.wait()"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", supervisor, stdout=subprocess.PIPE)
    assert process.stdout
    child = psutil.Process(int(await process.stdout.readline()))
    await eventually(lambda: child.name() == "sleep")
    process.kill()
    await process.wait()

    def gone() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        return True

    await eventually(gone)


def test_the_launcher_hands_over_its_process(tmp_path: Path) -> None:
    process = subprocess.Popen(launched(["/bin/sh", "-c", "echo $$"]), stdout=subprocess.PIPE, text=True)
    assert process.communicate()[0].strip() == str(process.pid)


async def test_who_no_longer_waits_for_a_nursery_that_ended_is_not_complained_about(tmp_path: Path) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    nursery = Nursery([], {}, tmp_path / "log")
    nursery._expected.append(loop.create_future())
    nursery._lose()
    gc.collect()
    assert complaints == []
