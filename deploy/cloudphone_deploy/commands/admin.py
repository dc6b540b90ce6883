"""`cloudphone admin …`"""

import sys
from datetime import UTC, datetime
from getpass import getpass
from typing import Annotated

import cyclopts
import msgspec
import uvloop
from cyclopts import Parameter

from cloudphone_core.user.passwords import Passwords
from cloudphone_core.user.service import add_first_administrator
from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.contracts.user import TenantCreate, UserCreate
from cloudphone_shared.database import Database
from cloudphone_shared.settings import Databases, load

app = cyclopts.App(name="admin", help="The first administrator of an empty installation.", help_format="markdown")


@app.command
def create(
    email: str,
    /,
    *,
    name: Annotated[str, Parameter(help="As others see it.")] = "Administrator",
    tenant: Annotated[str, Parameter(help="The tenant's short name; made when there is none of that name.")] = "main",
    json: Json = False,
    data: Data = None,
) -> None:
    """Make the first administrator, who sees all tenants; further ones are made by those there are.

    The password, at least 10 characters, is asked for, or read from a pipe.

    For example:

    - `cloudphone admin create ana@example.com --name "Ana Duarte"`
    - `pass show cloudphone | cloudphone admin create ana@example.com`
    """
    asked = UserCreate(name=name, email=email, password=_password(), role="admin")
    try:
        wanted = msgspec.convert(msgspec.to_builtins(asked), UserCreate)
        company = msgspec.convert({"name": tenant.capitalize(), "slug": tenant}, TenantCreate)
    except msgspec.ValidationError as error:
        raise CommandError(f"That cannot be: {error}.") from None
    settle(data)
    made = uvloop.run(_create(wanted, company))
    print(plain(made) if json else f"{made['email']} administers all tenants, as of now.")


async def _create(wanted: UserCreate, tenant: TenantCreate) -> dict[str, str]:
    passwords = Passwords()
    database = Database(load(Databases).url_of("user"), schema="identity", service="user", pool_size=1)
    try:
        hashed = await passwords.hash(wanted.password)
        async with database.writing() as session:
            user = await add_first_administrator(
                session,
                tenant=tenant,
                name=wanted.name,
                email=wanted.email,
                password_hash=hashed,
                at=datetime.now(UTC),
            )
            return {"id": str(user.id), "email": user.email, "tenantId": str(user.tenant_id)}
    finally:
        passwords.close()
        await database.close()


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass("Password: ")
    if first != getpass("Again: "):
        raise CommandError("The two passwords differ: run it again.")
    return first
