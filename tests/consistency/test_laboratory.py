"""The laboratory: the whole platform, each part of which can be killed or frozen alone, gone when it is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.errors import CommandError
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


async def sign_in(laboratory: Laboratory) -> str:
    email, password = laboratory.administrator()
    async with httpx.AsyncClient(timeout=10) as http:
        url = f"{laboratory.bff_admins[0]}/auth/login"
        answer = await http.post(url, json={"email": email, "password": password})
    return answer.json()["accessToken"]


async def test_every_process_of_a_bff_answers_the_administrator(laboratory: Laboratory) -> None:
    token = await sign_in(laboratory)
    assert len({*laboratory.bff_admins, *laboratory.bff_users}) == 4
    async with httpx.AsyncClient(timeout=10, headers={"Authorization": f"Bearer {token}"}) as http:
        assert [(await http.get(f"{url}/admin/devices")).status_code for url in laboratory.bff_admins] == [200, 200]
        assert [(await http.get(f"{url}/health/ready")).status_code for url in laboratory.bff_users] == [200, 200]


@pytest.mark.parametrize("name", ["services", "bff-user-2"])
async def test_a_part_that_was_killed_is_missed_until_it_is_started_again(laboratory: Laboratory, name: str) -> None:
    part = laboratory.processes[name]
    before = part.pid
    await part.kill()
    with pytest.raises(CommandError, match=f"{name} is not ready"):
        await laboratory.until_healthy(0)
    await part.start()
    await laboratory.until_healthy()
    assert part.pid != before


async def test_a_part_that_was_frozen_goes_on(laboratory: Laboratory) -> None:
    part = laboratory.processes["cache-worker"]
    before = part.pid
    part.stop()
    try:
        await eventually(lambda: psutil.Process(part.pid).status() == psutil.STATUS_STOPPED, within=30)
    finally:
        part.go_on()
    await laboratory.until_healthy()
    assert part.pid == before


async def test_what_a_service_is_asked_can_be_held_up_and_refused(laboratory: Laboratory) -> None:
    proxied = laboratory.environment["CLOUDPHONE_DEVICE_URL"]
    async with httpx.AsyncClient(timeout=30) as http:

        async def seconds() -> float:
            began = time.monotonic()
            assert (await http.get(f"{proxied}/health/live")).status_code == 200
            return time.monotonic() - began

        await seconds()
        await laboratory.hold_up("device", delay=0.3)
        assert await seconds() > 0.6
        await laboratory.hold_up("device", refuse=True)
        with pytest.raises(httpx.TransportError):
            await seconds()
        await laboratory.hold_up("device")
        await seconds()
        assert (await http.get(f"{laboratory.url('device')}/health/live")).status_code == 200


_INTERRUPTED = """
import asyncio, sys
from pathlib import Path
from cloudphone_deploy.consistency.laboratory import Laboratory
async def main():
    async with Laboratory(Path(sys.argv[1]), bffs=1) as laboratory:
        laboratory.processes["bff-user"].stop()
        print("up", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_nothing_is_left_running_when_whoever_runs_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout
        assert await asyncio.wait_for(process.stdout.readline(), 300) == b"up\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert {"postgres", "valkey-server", "nats-server", "bff-user"} <= {each.name() for each in family}
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await eventually(lambda: not any(_lives(each) for each in family), within=120)
    finally:
        if process.returncode is None:
            process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
