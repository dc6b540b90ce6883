"""`cloudphone down`"""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.folder import DataFolder
from cloudphone_deploy.surroundings import data_folder, of_running
from cloudphone_deploy.up import down as stop
from cloudphone_shared.settings import Devices, load


def down(
    *,
    data: Data = None,
    erase: Annotated[bool, Parameter(negative="", help="Then delete all its data, for good.")] = False,
) -> None:
    """Stop what `cloudphone up` started, in order, and wait until it has stopped. The data is kept.

    Containers of Docker Engine run on, as devices do; `--erase` removes them, and their volumes, too.

    For example:

    - `cloudphone down`
    - `cloudphone down --erase` starts over next time
    """
    folder = data_folder(data)
    if stop(folder):
        print("Stopped; the data is kept." if not erase else "Stopped.")
    else:
        print(f"Nothing runs on {folder.path}.")
    if erase and folder.path.exists():
        if folder.engine.exists():
            removed = asyncio.run(_remove_containers(folder))
            print(f"Removed {removed} containers with their volumes.")
        folder.erase()
        print(f"Deleted {folder.path}.")


async def _remove_containers(folder: DataFolder) -> int:
    # It takes a second to import, which only those with containers have to wait.
    from cloudphone_deploy.containers import remove_all

    env = {**of_running(folder), "CLOUDPHONE_PROVIDER": "docker", "CLOUDPHONE_DOCKER_URL": folder.engine.read_text()}
    return await remove_all(load(Devices, env=env))
