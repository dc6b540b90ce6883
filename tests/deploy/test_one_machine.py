"""`cloudphone up` on real servers: it resumes, leaves nothing behind, and says in one sentence what is wrong."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from cloudphone_deploy.folder import DataFolder
from tests.conditions import eventually
from tests.servers import free_base

pytestmark = pytest.mark.anyio


class Machine:
    """One data folder and its ports, run by the real command."""

    def __init__(self, data: Path, **env: str) -> None:
        self.folder = DataFolder(data)
        self.base = free_base(50)
        settings = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDPHONE_")}
        self.env = {**settings, "CLOUDPHONE_PORT_BASE": str(self.base), **env}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cloudphone_deploy", *words, "--data", str(self.folder.path)]

    def run(self, *words: str, wrapped_in: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        command = [*wrapped_in, *self.command(*words)]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300, check=False)

    def begin(self) -> None:
        command = self.command("up", "--only-servers")
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    async def up(self) -> dict[str, Any]:
        self.begin()
        return await eventually(self.told, within=180)

    def told(self) -> dict[str, Any] | None:
        assert self.process
        if self.process.poll() is not None:
            assert self.process.stdout
            raise AssertionError(f"it ended: {self.process.stdout.read().decode()}")
        try:
            told = json.loads(self.folder.up.read_text())
        except FileNotFoundError:
            return None
        return told if told["pids"]["supervisor"] == self.process.pid else None

    def everything(self) -> list[psutil.Process]:
        assert self.process
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def ended(self, code: int) -> bool:
        assert self.process
        return self.process.wait(timeout=120) == code

    async def database(self) -> "asyncpg.Connection[Any]":
        password = self.folder.load_secrets().postgres_password
        return await asyncpg.connect(f"postgresql://postgres:{password}@127.0.0.1:{self.base + 20}/postgres")

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=120)


@pytest.fixture(scope="module")
async def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that ran before: to make one takes most of the time of a first start."""
    one = Machine(tmp_path_factory.mktemp("used") / "data")
    try:
        await one.up()
    finally:
        one.remove()
    return one.folder.path


@pytest.fixture
def machine(tmp_path: Path, used: Path) -> Iterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def build(data: str | Path = "data", *, resumed: bool = False, **env: str) -> Machine:
        if resumed:
            shutil.copytree(used, tmp_path / data)
        machines.append(Machine(tmp_path / data, **env))
        return machines[-1]

    yield build
    for each in machines:
        each.remove()


def gone(processes: list[psutil.Process]) -> bool:
    return not [each for each in processes if _runs(each)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_kill_9_of_the_supervisor_leaves_no_process_and_loses_no_commit(machine: Callable[..., Machine]) -> None:
    one = machine(resumed=True)
    await one.up()
    database = await one.database()
    await database.execute("CREATE TABLE kept (id int)")
    processes = one.everything()
    assert len(processes) > 6, "the servers, and PostgreSQL's own"
    for id_ in range(50):
        await database.execute("INSERT INTO kept VALUES ($1)", id_)
    processes[0].kill()
    await eventually(lambda: gone(processes))
    await one.up()
    database = await one.database()
    assert await database.fetchval("SELECT count(*) FROM kept") == 50
    await database.close()


async def test_kill_9_while_the_data_is_being_made_does_not_matter(machine: Callable[..., Machine]) -> None:
    one = machine()
    while await killed_when_made(one):
        shutil.rmtree(one.folder.path)
    assert "postgres" in (await one.up())["pids"]


async def killed_when_made(one: Machine) -> bool:
    """Killed in the middle of it, or else too late."""
    one.begin()
    assert one.process
    half_made = one.folder.path / "postgres.new" / "global"
    await eventually(lambda: half_made.exists() or one.folder.postgres.exists(), every=0.001)
    processes = one.everything()
    one.process.kill()
    await eventually(lambda: gone(processes))
    return one.folder.postgres.exists()


async def test_each_signal_stops_everything_in_order(machine: Callable[..., Machine]) -> None:
    one = machine(resumed=True)
    for times, signal_ in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), start=1):
        await one.up()
        processes = one.everything()
        processes[0].send_signal(signal_)
        assert one.ended(0)
        await eventually(lambda processes=processes: gone(processes))
        assert not one.folder.up.exists()
        assert (one.folder.logs / "postgres.log").read_text().count("database system is shut down") >= times


async def test_down_stops_what_up_detached_started_and_up_resumes(machine: Callable[..., Machine]) -> None:
    one = machine("a deep föld&r with 'quotes' " + "x" * 90)
    started = one.run("up", "--only-servers", "--detach", "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert told == json.loads(one.folder.up.read_text())
    assert told["bffAdmin"] == f"http://127.0.0.1:{one.base + 10}"
    assert set(told["pids"]) == {"supervisor", "postgres", "valkey", "nats", "adb"}
    assert all(psutil.pid_exists(pid) for pid in told["pids"].values())
    database = await one.database()
    await database.execute("CREATE TABLE kept (id int)")
    await database.close()

    assert one.run("down").returncode == 0
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in told["pids"].values()))
    assert not one.folder.up.exists()
    assert "Nothing runs" in one.run("down").stdout

    await one.up()
    database = await one.database()
    assert await database.fetchval("SELECT count(*) FROM kept") == 0
    await database.close()


async def test_a_crashed_server_is_started_again_and_told_so(machine: Callable[..., Machine]) -> None:
    one = machine(resumed=True)
    before = (await one.up())["pids"]
    for name in ("valkey", "nats", "postgres"):
        os.kill(before[name], signal.SIGKILL)

    def all_new() -> bool:
        now = (one.told() or {"pids": before})["pids"]
        return all(now[name] != before[name] for name in ("valkey", "nats", "postgres"))

    await eventually(all_new)
    database = await eventually(lambda: connected(one))
    await database.close()
    one.remove()
    assert one.process
    assert one.process.stdout
    said = one.process.stdout.read().decode()
    for name in ("valkey", "nats", "postgres"):
        assert f"{name} ended (killed by SIGKILL)" in said
        assert f"{name} is started again in 0.2 s" in said
        assert f"{name} is back" in said


async def connected(one: Machine) -> Any:
    try:
        return await one.database()
    except (OSError, asyncpg.PostgresError):
        return None


async def test_two_run_at_once_on_other_ports(machine: Callable[..., Machine]) -> None:
    one, two = machine("one", resumed=True), machine("two", resumed=True)
    two.env["CLOUDPHONE_PORT_BASE"] = str(one.base + 25)
    first, second = await one.up(), await two.up()
    assert not set(first["pids"].values()) & set(second["pids"].values())


async def test_a_server_whose_url_is_set_is_not_started(machine: Callable[..., Machine]) -> None:
    one = machine(
        CLOUDPHONE_REDIS_URL="redis://elsewhere:6379/0",
        CLOUDPHONE_CORE_DATABASE_URL="postgresql://elsewhere/core",
        CLOUDPHONE_BILLING_DATABASE_URL="postgresql://elsewhere/billing",
        CLOUDPHONE_ADB_SERVER="elsewhere:5037",
    )
    assert set((await one.up())["pids"]) == {"supervisor", "nats"}


async def test_the_folder_of_a_running_one_is_refused(machine: Callable[..., Machine]) -> None:
    one = machine(resumed=True)
    await one.up()
    assert one.process
    refused = one.run("up", "--only-servers")
    assert_one_sentence(refused, "in use", str(one.process.pid), "make down", "CLOUDPHONE_DATA")
    assert one.told()


def test_a_taken_port_is_named_with_who_has_it(machine: Callable[..., Machine]) -> None:
    one = machine()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", one.base + 21))
        other.listen()
        refused = one.run("up", "--only-servers")
    assert_one_sentence(refused, f"Port {one.base + 21}", "valkey", f"process {os.getpid()}", "CLOUDPHONE_PORT_BASE")
    assert not one.folder.up.exists()


@pytest.mark.parametrize("stamp", ["layout = 1\npostgres = 17\n", "layout = 99\npostgres = 18\n", "\0"])
def test_a_folder_of_another_version_is_refused(machine: Callable[..., Machine], stamp: str) -> None:
    one = machine()
    one.folder.path.mkdir()
    one.folder.version.write_text(stamp)
    assert_one_sentence(one.run("up", "--only-servers"), "another version", "make reset")


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ("mount --bind {0} {0} && mount -o remount,ro,bind {0}", "cannot be written"),
        ("mount -t tmpfs -o size=8m x {0}", "MB free"),
    ],
)
def test_a_read_only_or_full_folder_is_refused(machine: Callable[..., Machine], mount: str, said: str) -> None:
    one = machine()
    one.folder.path.mkdir()
    alone = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    if subprocess.run([*alone, "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no mounts of our own")
    script = mount.format(one.folder.path) + ' && exec "$@"'
    refused = one.run("up", "--only-servers", wrapped_in=(*alone, script, "sh"))
    assert_one_sentence(refused, str(one.folder.path), said, "CLOUDPHONE_DATA")


def test_an_unusable_path_is_refused(machine: Callable[..., Machine]) -> None:
    assert_one_sentence(machine("/dev/null/data").run("up"), "/dev/null/data", "CLOUDPHONE_DATA")


def test_a_bad_setting_is_refused_by_name(machine: Callable[..., Machine]) -> None:
    one = machine(CLOUDPHONE_WARMUP_USERS="many")
    assert_one_sentence(one.run("up"), "CLOUDPHONE_WARMUP_USERS", "whole number", "'many'")


async def test_reset_deletes_only_a_data_folder(machine: Callable[..., Machine], tmp_path: Path) -> None:
    one = machine(resumed=True)
    await one.up()
    assert one.run("down", "--erase").returncode == 0
    assert not one.folder.path.exists()
    treasure = tmp_path / "data" / "treasure"
    treasure.parent.mkdir()
    treasure.touch()
    assert_one_sentence(one.run("down", "--erase"), "no Cloudphone data")
    assert treasure.exists()


async def test_secrets_are_kept_and_private(machine: Callable[..., Machine]) -> None:
    one = machine(resumed=True)
    await one.up()
    secrets = one.folder.load_secrets()
    assert one.folder.secrets.stat().st_mode & 0o777 == 0o600
    assert {"user", "bff-admin", "cache-worker"} <= set(secrets.service_clients)
    one.remove()
    await one.up()
    assert one.folder.load_secrets() == secrets


def assert_one_sentence(refused: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    assert refused.returncode == 1
    assert refused.stderr.startswith("cloudphone: ")
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    for part in parts:
        assert part in refused.stderr
