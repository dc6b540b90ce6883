"""`cloudphone up` with everything: the printed call works, what crashes comes back, and the commands find it."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
import psutil
import pytest
from adbutils import AdbClient, AdbError
from anyio import to_thread

from cloudphone_deploy.cli import main
from cloudphone_deploy.resting import PHONES
from cloudphone_phone import Model, Plan, RemoteFarm
from tests.conditions import eventually
from tests.deploy.test_one_machine import Machine
from tests.servers import Guard

pytestmark = pytest.mark.anyio

HEALTHY = 180.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    # The tests sign in more often than a customer may.
    machine = Machine(tmp_path_factory.mktemp("platform") / "data", CLOUDPHONE_LOGIN_RATE_LIMITS="1000/min")
    started = machine.run("up", "--detach")
    assert started.returncode == 0, started.stderr
    machine.env["SAID"] = started.stdout
    supervisor = up(machine)["pids"]["supervisor"]
    # Nobody else would end it if the tests were killed.
    Guard.get().tell("watch", supervisor)
    yield machine
    assert machine.run("down").returncode == 0
    Guard.get().tell("forget", supervisor)


def up(machine: Machine) -> dict[str, Any]:
    return json.loads(machine.folder.up.read_text())


class Ended(NamedTuple):
    code: object
    stdout: str
    stderr: str


def command(machine: Machine, *words: str) -> Ended:
    """The command without a process of its own, which would spend most of its time on importing."""
    out, error, code = io.StringIO(), io.StringIO(), None
    with (
        patch.dict(os.environ, machine.env, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        ThreadPoolExecutor(1) as apart,
    ):
        try:
            apart.submit(main, [*words, "--data", str(machine.folder.path)]).result()
        except SystemExit as end:
            code = end.code
    return Ended(code, out.getvalue(), error.getvalue())


def ended(machine: Machine, *words: str) -> Ended:
    """A command that was answered: a machine that stands still for some seconds keeps a service from answering."""
    deadline = time.monotonic() + HEALTHY
    while "gives no answer" in (done := command(machine, *words)).stderr:
        assert time.monotonic() < deadline, done.stderr
    return done


def said(machine: Machine, *words: str) -> str:
    done = ended(machine, *words)
    assert not done.code, done.stderr
    return done.stdout


def answer(machine: Machine, *words: str) -> Any:
    return json.loads(said(machine, *words, "--json"))


async def the_device(machine: Machine) -> Any:
    """What the printed call gives, whole."""
    call = next(line for line in machine.env["SAID"].splitlines() if line.startswith("curl "))

    def whole() -> Any:
        done = subprocess.run(["bash", "-c", call], capture_output=True, check=False, timeout=120)
        device = json.loads(done.stdout or "{}")
        return device if "device" in device and "degraded" not in device else None

    return await eventually(whole)


async def test_the_printed_call_gives_a_composed_device(machine: Machine) -> None:
    device = await the_device(machine)
    assert set(device) >= {"device", "owner", "applications", "usage"}
    assert device["owner"]["id"] == device["device"]["ownerId"]
    assert device["applications"]


async def test_some_phones_of_the_demo_are_turned_on_and_no_device_claims_to_run_without_one(machine: Machine) -> None:
    adb = AdbClient("127.0.0.1", machine.base + 23)

    def on() -> set[str]:
        return {phone.serial for phone in adb.list() if phone.state == "device"}

    await eventually(lambda: len(on()) == PHONES, within=HEALTHY)
    admin = up(machine)["accounts"][0]
    async with httpx.AsyncClient(base_url=up(machine)["bffAdmin"], timeout=30) as client:
        answer = await client.post("/auth/login", json={"email": admin["email"], "password": admin["password"]})
        client.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"

        async def running() -> list[Any]:
            answer = await client.get("/admin/devices", params={"state": "running", "limit": 100})
            return answer.json()["items"] if answer.status_code == 200 else []

        async def all_run() -> bool:
            return len(await running()) == PHONES

        await eventually(all_run, within=HEALTHY)


def paste(machine: Machine, tmp_path: Path, section: str) -> "subprocess.CompletedProcess[str]":
    """The lines of a section of the README, as a reader of it would paste them; files go to `tmp_path`."""
    first, rest = (ROOT / "README.md").read_text().split(f"## {section}\n")
    given = re.findall(r"^(?:TOKEN|DEVICE)=.*?[^\\]$", first, re.MULTILINE | re.DOTALL)[:2]
    blocks = re.findall(r"```sh\n(.*?)```", rest.split("\n## ")[0], re.DOTALL)
    command = f"{sys.executable} -m cloudphone_deploy"
    lines = "\n".join([*given, *blocks]).replace(".venv/bin/cloudphone", command)
    for port in (10, 0):
        lines = lines.replace(f":{30_000 + port}", f":{machine.base + port}")
    done = subprocess.run(
        ["bash", "-euc", lines.replace(">.cloudphone/", f">{tmp_path}/")],
        env={**machine.env, "CLOUDPHONE_DATA": str(machine.folder.path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HEALTHY,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def test_the_lines_of_the_readme_take_a_phone_through_a_life(machine: Machine, tmp_path: Path) -> None:
    done = paste(machine, tmp_path, "A phone that lives")
    assert "package:org.cloudphone.tiny" in done.stdout
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    usage = json.loads(done.stdout.rpartition('"usage":')[2])
    assert usage["runs"] > 0 and usage["openSince"] is None


def test_the_lines_of_the_readme_add_up(machine: Machine, tmp_path: Path) -> None:
    done = paste(machine, tmp_path, "Money that adds up")
    assert (tmp_path / "invoice.pdf").read_bytes().startswith(b"%PDF")
    # 490 cents less 20 %, and a start at 5 cents, with the tax that they contain.
    assert re.search(r"^3 .* 5 of which tax 1$", done.stdout, re.MULTILINE)
    assert re.search(r"^INV-\d{4}-\d{6} total 397 paid 397 due 0$", done.stdout, re.MULTILINE)
    assert "It failed and nothing was charged" in done.stdout
    assert re.search(r"^\d+ accounts, \d+ transfers and \d+ entries", done.stdout, re.MULTILINE)


def test_the_file_for_scripts_names_addresses_accounts_and_processes(machine: Machine) -> None:
    told = up(machine)
    assert list(told) == ["bffAdmin", "bffUser", "services", "accounts", "pids"]
    assert set(told["services"]) == {"user", "device", "app", "scheduler", "billing", "cache-worker"}
    assert {account["role"] for account in told["accounts"]} == {"admin", "operator", "support", "customer"}
    assert all(set(account) == {"role", "tenant", "email", "password"} for account in told["accounts"])
    assert all(psutil.pid_exists(pid) for pid in told["pids"].values())
    assert all(account["email"] in machine.env["SAID"] for account in told["accounts"])


@pytest.mark.parametrize("name", ["user", "bff-admin", "nursery"])
async def test_what_is_killed_comes_back(machine: Machine, name: str) -> None:
    before = up(machine)["pids"]
    os.kill(before[name], signal.SIGKILL)
    await eventually(lambda: up(machine)["pids"][name] != before[name], within=HEALTHY)
    urls = [up(machine)["bffAdmin"], up(machine)["bffUser"], *up(machine)["services"].values()]
    async with httpx.AsyncClient(timeout=30) as client:

        async def all_ready() -> bool:
            try:
                answers = [await client.get(f"{url}/health/ready") for url in urls]
            except httpx.HTTPError:
                return False
            return all(answer.status_code == 200 for answer in answers)

        await eventually(all_ready, within=HEALTHY, every=0.1)


@pytest.mark.parametrize("name", ["phones", "adb"])
async def test_a_phone_outlives_what_runs_it_and_what_reaches_it(machine: Machine, name: str) -> None:
    farm = RemoteFarm(machine.folder.path / "farm" / "control")
    await farm.create(Plan(name="mine", volume="mine", model=Model(boot_seconds=0.0), labels={"deployment": "other"}))
    phone = await farm.start("mine")

    async def adb_reads_its_model() -> bool:
        adb = AdbClient("127.0.0.1", machine.base + 23)
        return (await to_thread.run_sync(model_of, adb, f"{phone.host}:{phone.port}")) == Model().name

    await eventually(adb_reads_its_model, within=HEALTHY)
    before = up(machine)["pids"][name]
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: up(machine)["pids"][name] != before, within=HEALTHY)
    await eventually(adb_reads_its_model, within=HEALTHY)
    await farm.remove("mine")


def model_of(adb: AdbClient, address: str) -> str | None:
    """None while adb does not reach it."""
    try:
        adb.connect(address, timeout=30)
        return adb.device(address).prop.model
    except (AdbError, OSError):
        return None


async def test_the_commands_find_the_installation_by_its_folder(machine: Machine) -> None:
    def processes() -> list[str]:
        return [each["process"]["name"] for each in answer(machine, "cache", "processes")["items"]]

    base = machine.env.pop("CLOUDPHONE_PORT_BASE")
    try:
        assert len(answer(machine, "tenant", "list")) == 3
        assert answer(machine, "bus", "dead-letters", "list") == []
        assert answer(machine, "warmup", "schedule", "*/7 * * * *")["schedule"] == "*/7 * * * *"
        assert {feed["service"] for feed in answer(machine, "cache", "stats")["feeds"]["services"]} >= {
            "user",
            "device",
        }
        assert answer(machine, "cache", "show", "device:full:nobody's")["reason"] == "there is no entry"
        # What was killed before this stays on the board for some seconds.
        await eventually(lambda: processes() == ["bff-admin", "bff-user"])
        assert "changes behind" in said(machine, "cache", "processes")
        assert "newest version" in said(machine, "migrate")
        again = answer(machine, "seed")["accounts"]
    finally:
        machine.env["CLOUDPHONE_PORT_BASE"] = base
    assert again == up(machine)["accounts"]


async def test_the_commands_tell_what_the_caches_hold_and_why(machine: Machine) -> None:
    device = await the_device(machine)
    key = f"device:full:{device['device']['id']}"
    owner = f"user:{device['owner']['id']}"
    # Whether a process that has just begun finds it in Redis is a matter of time; now its next reader finds nothing.
    said(machine, "cache", "drop", key)

    async def shown_as_proven() -> bool:
        await the_device(machine)
        shown = said(machine, "cache", "show", key)
        return owner in shown and "proven: nothing newer than it shows has been announced" in shown

    await eventually(shown_as_proven)
    assert "no-entry" in said(machine, "cache", "misses", "--key", key)
    assert "No such miss is remembered." in said(machine, "cache", "misses", "--key", "device:full:1")
    assert key in said(machine, "cache", "hottest")
    assert "device:full" in said(machine, "cache", "l1")
    found = answer(machine, "cache", "showing", owner)
    assert found["complete"] is True and key in [view["key"] for view in found["views"]]
    assert "No cached view shows user:nobody." in said(machine, "cache", "showing", "user:nobody")
    assert "Heard by bff-admin@" in said(machine, "cache", "drop", key)
    refused = ended(machine, "cache", "drop", "nothing:1")
    assert refused.code == 1 and "No view of a process that answers has such a key" in refused.stderr


def test_a_process_can_be_served_beside_it(machine: Machine, tmp_path: Path) -> None:
    port = machine.base + 15
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = machine.command("serve", "bff-admin", "--port", str(port))
        process = subprocess.Popen(command, env=machine.env, stdout=output, stderr=output)
    try:
        with httpx.Client(timeout=30, transport=httpx.HTTPTransport(retries=0)) as client:
            assert wait_ready(client, f"http://127.0.0.1:{port}", process), log.read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0


def wait_ready(client: httpx.Client, url: str, process: "subprocess.Popen[bytes]") -> bool:
    for _ in range(1800):
        try:
            return client.get(f"{url}/health/ready").status_code == 200
        except httpx.HTTPError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            return False
    return False


def test_the_first_administrator_can_be_made_only_once(machine: Machine) -> None:
    done = subprocess.run(
        machine.command("admin", "create", "x@y.example"),
        env=machine.env,
        input="long enough, this",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"cloudphone: .*administrator.*\n", done.stderr)
