"""Fills empty databases with the demo."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from cloudphone_core.app import seed as app_seed
from cloudphone_core.billing import seed as billing_seed
from cloudphone_core.device import seed as device_seed
from cloudphone_core.device.lifecycle.commands import command_all
from cloudphone_core.user import seed as user_seed
from cloudphone_core.user.passwords import Passwords
from cloudphone_shared import entities
from cloudphone_shared.auth import ROLE_PERMISSIONS, Caller
from cloudphone_shared.database import SCHEMAS, Database, holds_anything, versions_of
from cloudphone_shared.settings import Databases, Devices, load

from .dataset import Builder, Dataset
from .demo import Account, Demo
from .resting import at_rest, first_running

PASSWORD = "cloudphone-demo"  # noqa: S105  # opens nothing but made-up data
_SHOWN = ("root@aurora", "admin@aurora", "operator@aurora", "support@aurora", "customer001@aurora", "admin@basalt",
          "customer002@basalt", "customer003@cirrus")  # fmt: skip


async def seed(databases: Databases, *, live: bool = False) -> Demo:
    """Each service's rows in a transaction of its own; a service that has any keeps what it has.

    `live`: no device claims to run before its phone does, and some simulated ones are asked to start.

    Seeded again, also after a crash in between, an installation ends up with the same rows. The accounts are named
    only where the user service holds the demo.
    """
    data = Builder(datetime.now(UTC).replace(microsecond=0)).build(await _password_hash())
    shown, started = first_running(data)
    provider = load(Devices).provider
    data = at_rest(data, provider) if live else data
    for service in ("user", "device", "app", "billing"):
        database = Database(databases.url_of(service), schema=SCHEMAS[service], service=service, pool_size=1)
        try:
            if not await holds_anything(database):
                await _fill(database, data)
                if service == "device" and live and provider == "simulated":
                    await _start(database, data, started)
            if service == "user" and not await _is_the_demo(database, data):
                return Demo()
        finally:
            await database.close()
    return _demo(data, shown)


async def _password_hash() -> str:
    passwords = Passwords()
    try:
        return await passwords.hash(PASSWORD)
    finally:
        passwords.close()


async def _is_the_demo(database: Database, data: Dataset) -> bool:
    tenant = entities.tenant(data.tenants[0].id)
    async with database.reading() as session:
        return (await versions_of(session, tenant))[tenant] > 0


async def _fill(database: Database, data: Dataset) -> None:
    if database.service == "user":
        await user_seed.seed(database, tenants=data.tenants, users=data.users)
    elif database.service == "device":
        await device_seed.seed(database, nodes=data.nodes, templates=data.templates, devices=data.devices)
    elif database.service == "app":
        await app_seed.seed(database, apps=data.apps, installations=data.installations)
    else:
        await billing_seed.seed(
            database,
            plans=data.plans,
            orders=data.orders,
            runs=data.runs,
            balances=data.balances,
            sales=data.sales,
        )


async def _start(database: Database, data: Dataset, device_ids: Sequence[UUID]) -> None:
    """As their administrator would ask for it; the device worker does it once it runs."""
    root = data.users[0]
    caller = Caller(
        id=str(root.id),
        tenant_id=str(root.tenant_id),
        role=root.role,
        kind="user",
        data_scope="all",
        permissions=ROLE_PERMISSIONS[root.role],
        sessions_version=0,
        expires_at=math.inf,
        token="",
    )
    async with database.writing() as session:
        await command_all(session, caller, "start", device_ids)


def _demo(data: Dataset, device_id: UUID) -> Demo:
    tenants = {tenant.id: tenant.slug for tenant in data.tenants}
    shown = {f"{name}.example" for name in _SHOWN}
    accounts = [
        Account(role=user.role, tenant=tenants[user.tenant_id], email=user.email, password=PASSWORD)
        for user in data.users
        if user.email in shown
    ]
    return Demo(accounts=accounts, device=str(device_id))
