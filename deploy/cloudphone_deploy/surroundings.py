"""What an installation on one machine adds to the settings: which servers it runs, where they are, its secrets."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cloudphone_core.scheduler.settings import Scheduling
from cloudphone_deploy.card_provider.settings import CardProviderSettings
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.folder import DataFolder, Secrets
from cloudphone_shared.settings import (
    PORTS,
    AppStorage,
    Auth,
    BusSettings,
    CacheWorkerSettings,
    Databases,
    Devices,
    Front,
    Invoicing,
    Limits,
    Network,
    Payments,
    Redis,
    Telemetry,
    WarmupSettings,
    explain,
    load,
)


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is the folder of an installation on one machine, relative to where the command is run."""

    data: str = ".cloudphone"


SETTINGS = (
    Runner,
    Network,
    Databases,
    Redis,
    BusSettings,
    Auth,
    Limits,
    Front,
    Telemetry,
    WarmupSettings,
    CacheWorkerSettings,
    Devices,
    AppStorage,
    Scheduling,
    Payments,
    CardProviderSettings,
    Invoicing,
)
_CARD = {"CLOUDPHONE_CARD_API_URL", "CLOUDPHONE_CARD_API_KEY", "CLOUDPHONE_CARD_WEBHOOK_SECRETS"}


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """`env` is complete: what was set, and for the rest what the embedded servers and the made secrets give."""

    env: dict[str, str]
    port_base: int
    embedded: tuple[str, ...]


def data_folder(given: Path | None = None) -> DataFolder:
    return DataFolder(given or Path(load(Runner).data))


def surroundings(folder: DataFolder, env: Mapping[str, str] | None = None) -> Surroundings:
    """Raises CommandError. Nothing that is set is changed; a server whose URL is set is not embedded."""
    env = dict(os.environ if env is None else env)
    base = load(Network, env=env).port_base
    settings = explain(*SETTINGS, env=env)
    for setting in settings:
        if setting.origin == "unreadable":
            raise CommandError(f"{setting.problem}.")
    unset = {setting.variable for setting in settings if setting.origin in ("default", "missing")}
    # Made-up keys are for the provider that is made up: of one that is named, they would only hide that its own lack.
    ours = unset if unset >= _CARD else unset - _CARD
    given = {name: value for name, value in _ours(folder.load_secrets(), base).items() if name in ours}
    return Surroundings(
        env=env | given | {"CLOUDPHONE_PORT_BASE": str(base), "CLOUDPHONE_DATA": str(folder.path)},
        port_base=base,
        embedded=tuple(name for name, urls in _needed(unset).items() if urls & given.keys()),
    )


def of_running(folder: DataFolder) -> dict[str, str]:
    """The environment for a command beside the installation that uses `folder`; the plain one when there is none."""
    env = {**os.environ, "CLOUDPHONE_DATA": str(folder.path)}
    if not folder.secrets.exists():
        return env
    holder = folder.holder()
    if holder:
        env.setdefault("CLOUDPHONE_PORT_BASE", str(holder.port_base))
    return surroundings(folder, env).env


def _ours(secrets: Secrets, base: int) -> dict[str, str]:
    server = f"postgresql://postgres:{secrets.postgres_password}@127.0.0.1:{base + PORTS['postgres']}"
    return {
        "CLOUDPHONE_CORE_DATABASE_URL": f"{server}/cloudphone_core",
        "CLOUDPHONE_BILLING_DATABASE_URL": f"{server}/cloudphone_billing",
        "CLOUDPHONE_REDIS_URL": f"redis://:{secrets.valkey_password}@127.0.0.1:{base + PORTS['valkey']}/0",
        "CLOUDPHONE_BUS_URL": f"nats://{secrets.nats_token}@127.0.0.1:{base + PORTS['nats']}",
        "CLOUDPHONE_FRESHNESS_KEY": secrets.freshness_key,
        "CLOUDPHONE_CURSOR_KEY": secrets.cursor_key,
        "CLOUDPHONE_CARD_API_KEY": secrets.card_api_key,
        "CLOUDPHONE_CARD_WEBHOOK_SECRETS": secrets.card_webhook_secret,
        "CLOUDPHONE_SERVICE_CLIENTS": json.dumps(secrets.service_clients),
        "CLOUDPHONE_DEPLOYMENT_ID": secrets.deployment_id,
        "CLOUDPHONE_ADB_SERVER": f"127.0.0.1:{base + PORTS['adb']}",
    }


def _needed(unset: set[str]) -> dict[str, set[str]]:
    """By embedded server, the variables that point at it unless set. Core is needed while a service has no own URL."""
    in_core = {f"CLOUDPHONE_{service}_DATABASE_URL" for service in ("USER", "DEVICE", "APP", "SCHEDULER", "CACHE")}
    databases = {"CLOUDPHONE_BILLING_DATABASE_URL"}
    if in_core & unset:
        databases.add("CLOUDPHONE_CORE_DATABASE_URL")
    return {
        "postgres": databases,
        "valkey": {"CLOUDPHONE_REDIS_URL"},
        "nats": {"CLOUDPHONE_BUS_URL"},
        "adb": {"CLOUDPHONE_ADB_SERVER"},
    }
