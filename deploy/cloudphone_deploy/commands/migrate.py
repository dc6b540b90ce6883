"""`cloudphone migrate`"""

import os

import uvloop

from cloudphone_deploy import prepare
from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_shared.settings import Databases, load


def migrate(*, data: Data = None) -> None:
    """Bring every service's tables to the newest version, and make databases that do not exist.

    Safe to run again, and by several machines at once. Beside a running `cloudphone up` it works on its databases.

    For example: `CLOUDPHONE_CORE_DATABASE_URL=postgresql://user@host/core cloudphone migrate`
    """
    os.environ.update(of_running(data_folder(data)))
    databases = load(Databases)
    made = uvloop.run(_migrate(databases))
    for name in made:
        print(f"Made the database {name}.")
    print("All tables are at their newest version.")


async def _migrate(databases: Databases) -> list[str]:
    made = await prepare.create_databases(databases.url_of(owner) for owner in prepare.OWNERS)
    await prepare.migrate_all(databases)
    return made
