"""`cloudphone seed`"""

import uvloop
from rich.console import Console

from cloudphone_deploy import prepare
from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_shared.settings import Databases, load


def seed(*, json: Json = False, data: Data = None) -> None:
    """Fill empty databases with the demo: tenants, users, devices, apps, installations, orders and usage.

    The same figures every time. Databases that hold something stay as they are. `cloudphone up` does this by itself.
    """
    settle(data)
    demo = uvloop.run(prepare.seed(load(Databases)))
    if json:
        print(plain(demo))
        return
    rows = [[each.role, each.tenant, each.email, each.password] for each in demo.accounts]
    Console().print(table(("role", "tenant", "e-mail", "password"), rows))
