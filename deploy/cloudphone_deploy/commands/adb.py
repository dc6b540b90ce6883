"""`cloudphone adb`"""

import os
from typing import Annotated

from cyclopts import Parameter

from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.embedded import adb_binary
from cloudphone_deploy.errors import CommandError
from cloudphone_deploy.ports import taken
from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_shared.settings import Devices, load


def adb(*words: Annotated[str, Parameter(allow_leading_hyphen=True)], data: Data = None) -> None:
    """Run the real adb with the adb server of the installation. Its own words follow, up to the end of the line.

    For example:

    - `cloudphone adb devices`
    - `cloudphone adb -s 127.0.0.1:40001 shell pm list packages -3`
    """
    server = load(Devices, env=of_running(data_folder(data))).adb_server
    host, _, port = server.rpartition(":")
    # An adb that finds no server starts one.
    if host in ("127.0.0.1", "localhost") and not taken(int(port)):
        raise CommandError(f"No adb server listens at {server}: start it with `make up`.")
    os.execv(adb_binary(), ["adb", "-H", host, "-P", port, *words])  # noqa: S606
