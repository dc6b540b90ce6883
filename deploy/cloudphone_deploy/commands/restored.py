"""`cloudphone restored`"""

import uvloop

from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.database import SCHEMAS, Database, raise_incarnation
from cloudphone_shared.settings import Databases, load

OWNERS = tuple(name for name in SCHEMAS if name != "cache")


def restored(*services: str, data: Data = None) -> None:
    """Say that services' databases were restored from a backup, or that an asynchronous standby was promoted.

    What was announced and then lost would otherwise keep its place in every cache: the service begins a new
    incarnation, whose versions outnumber all earlier ones. Run it once, before the service takes traffic again.

    Services: `user`, `device`, `app`, `billing`. For example: `cloudphone restored billing`
    """
    unknown = [name for name in services if name not in OWNERS]
    if unknown or not services:
        wrong = f"There is no service {unknown[0]!r}" if unknown else "Say whose database was restored"
        raise CommandError(f"{wrong}: choose from {', '.join(OWNERS)}.")
    settle(data)
    for service in services:
        incarnation = uvloop.run(_raise(service))
        print(f"{service} is in its incarnation {incarnation} now.")


async def _raise(service: str) -> int:
    database = Database(load(Databases).url_of(service), schema=SCHEMAS[service], service=service, pool_size=1)
    try:
        return await raise_incarnation(database)
    finally:
        await database.close()
