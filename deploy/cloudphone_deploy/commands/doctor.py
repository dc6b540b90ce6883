"""`cloudphone doctor`"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console

from cloudphone_core.device.adb import Adb
from cloudphone_core.device.providers import open_provider
from cloudphone_core.device.providers.docker import engine_of
from cloudphone_core.device.providers.port import ProviderAway
from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.doctor.engine import engine
from cloudphone_deploy.doctor.finding import Finding, broken, well
from cloudphone_deploy.doctor.phone import phone
from cloudphone_deploy.doctor.servers import servers
from cloudphone_shared.settings import BusSettings, Databases, Devices, Redis, load

_MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "failed": "[red]failed[/] "}


def doctor(
    *,
    with_phone: Annotated[
        bool, Parameter(name="--phone", negative="", help="Also make a phone, boot it, use it, and remove it.")
    ] = False,
    boot_seconds: Annotated[
        float, Parameter(validator=validators.Number(gt=0), help="How long that phone may take to boot.")
    ] = 180.0,
    json: Json = False,
    data: Data = None,
) -> None:
    """Check that this machine can do what its settings ask: databases, Redis, the bus, adb, phones, the kernel.

    What is wrong is told with what to do about it. Exit code 1 when something failed; warnings leave it at 0.

    For example:

    - `cloudphone doctor`
    - `CLOUDPHONE_PROVIDER=docker cloudphone doctor --phone`
    """
    settle(data)
    findings = asyncio.run(_look(load(Devices), with_phone, boot_seconds, quiet=json))
    if json:
        print(msgspec.json.encode(findings).decode())
    if any(finding.verdict == "failed" for finding in findings):
        raise SystemExit(1)


async def _look(devices: Devices, with_phone: bool, boot_seconds: float, *, quiet: bool) -> list[Finding]:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240, quiet=quiet)
    findings: list[Finding] = []
    async for finding in _all(devices, with_phone, boot_seconds):
        findings.append(finding)
        console.print(f"{_MARKS[finding.verdict]}  {finding.about}: {finding.detail}")
        if finding.advice:
            console.print(f"           [dim]{finding.advice}[/]")
    return findings


async def _all(devices: Devices, with_phone: bool, boot_seconds: float) -> AsyncGenerator[Finding]:
    for finding in await servers(load(Databases), load(Redis), load(BusSettings), devices):
        yield finding
    async for finding in _provider(devices):
        yield finding
    if with_phone:
        async for finding in _phone(devices, boot_seconds):
            yield finding


async def _provider(devices: Devices) -> AsyncGenerator[Finding]:
    if devices.provider == "docker":
        async for finding in engine(engine_of(devices)):
            yield finding
    provider = open_provider(devices)
    try:
        found = await provider.find({})
        yield well("phones", f"{devices.provider}: {len(found)} of ours and others'")
    except ProviderAway as away:
        yield broken("phones", away.reason, "run `cloudphone up`, or `cloudphone serve phones`")
    finally:
        await provider.close()


async def _phone(devices: Devices, boot_seconds: float) -> AsyncIterator[Finding]:
    host, _, port = devices.adb_server.rpartition(":")
    provider, adb = open_provider(devices), Adb((host, int(port)))
    try:
        async for finding in phone(provider, adb, devices.deployment_id, boot_seconds):
            yield finding
    finally:
        await adb.close()
        await provider.close()
