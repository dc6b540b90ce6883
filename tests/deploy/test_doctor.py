"""`cloudphone doctor` says what is wrong, and what to do about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloudphone_core.device.providers.docker import Engine
from cloudphone_deploy.doctor.engine import binder, engine, limits
from cloudphone_deploy.doctor.servers import adb, redis_of
from tests.servers import Valkey, free_base

pytestmark = pytest.mark.anyio


def test_where_nothing_runs_each_thing_is_named_with_its_remedy(tmp_path: Path) -> None:
    environment = {**os.environ, "CLOUDPHONE_PORT_BASE": str(free_base(25)), "CLOUDPHONE_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "cloudphone_deploy", "doctor", "--json"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = {finding["about"]: finding for finding in json.loads(done.stdout)}
    failed = {about for about, finding in found.items() if finding["verdict"] == "failed"}
    assert {"database of device", "database of billing", "Redis", "bus", "adb server", "phones"} <= failed
    assert all(finding["advice"] for finding in found.values() if finding["verdict"] != "ok")


async def test_a_server_that_answers_is_well(valkey: Valkey) -> None:
    finding = await redis_of(valkey.url)
    assert (finding.verdict, finding.advice) == ("ok", "") and "Valkey" in finding.detail


async def test_an_engine_or_adb_that_is_away_is_told_once() -> None:
    assert [each.verdict async for each in engine(Engine(url="unix:///nowhere/socket"))] == ["failed"]
    assert (await adb("127.0.0.1:9")).verdict == "failed"


def test_a_kernel_without_binder_is_a_warning_and_limits_that_cannot_be_kept_a_failure(tmp_path: Path) -> None:
    filesystems = tmp_path / "filesystems"
    filesystems.write_text("nodev\tproc\n")
    assert binder(True, filesystems, tmp_path).verdict == "warning"
    filesystems.write_text("nodev\tbinder\n")
    assert binder(True, filesystems, tmp_path).verdict == "ok"
    assert binder(False, filesystems, tmp_path).verdict == "warning"
    told = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
    assert limits(told).verdict == "ok"
    assert "pids" in limits({**told, "PidsLimit": False}).detail
