"""`cloudphone tenant …`"""

from datetime import UTC, datetime
from typing import Annotated

import cyclopts
import msgspec
import uvloop
from cyclopts import Parameter
from rich.console import Console
from sqlalchemy import select

from cloudphone_core.user.models import TenantRow
from cloudphone_core.user.service import create_tenant
from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.contracts.user import Tenant, TenantCreate
from cloudphone_shared.database import Database
from cloudphone_shared.settings import Databases, load

app = cyclopts.App(
    name="tenant",
    help="The companies whose users and devices are kept apart.",
    help_format="markdown",
)


@app.command
def create(
    slug: str,
    /,
    *,
    name: Annotated[str | None, Parameter(help="As people see it; by default the short name.")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Make a tenant. Its short name is what customers name when they register: letters, digits and hyphens.

    For example: `cloudphone tenant create acme --name "Acme Ltd"`
    """
    try:
        wanted = msgspec.convert({"name": name or slug, "slug": slug}, TenantCreate)
    except msgspec.ValidationError as error:
        raise CommandError(f"That cannot be: {error}.") from None
    settle(data)
    made = uvloop.run(_create(wanted))
    print(plain(made) if json else f"{made.name} ({made.slug}) is tenant {made.id}.")


@app.command(name="list")
def list_(*, json: Json = False, data: Data = None) -> None:
    """All tenants, by name."""
    settle(data)
    tenants = uvloop.run(_list())
    if json:
        print(plain(tenants))
        return
    Console().print(table(("short name", "name", "id"), [[each.slug, each.name, str(each.id)] for each in tenants]))


async def _create(wanted: TenantCreate) -> Tenant:
    database = _database()
    try:
        async with database.writing() as session:
            made, _ = await create_tenant(session, wanted, datetime.now(UTC))
            return msgspec.convert(made, Tenant, from_attributes=True)
    finally:
        await database.close()


async def _list() -> list[Tenant]:
    database = _database()
    try:
        async with database.reading() as session:
            rows = await session.scalars(select(TenantRow).order_by(TenantRow.name))
            return [msgspec.convert(row, Tenant, from_attributes=True) for row in rows]
    finally:
        await database.close()


def _database() -> Database:
    return Database(load(Databases).url_of("user"), schema="identity", service="user", pool_size=1)
