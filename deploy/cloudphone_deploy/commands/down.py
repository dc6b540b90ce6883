"""`cloudphone down`"""

from typing import Annotated

from cyclopts import Parameter

from cloudphone_deploy.commands.options import Data
from cloudphone_deploy.surroundings import data_folder
from cloudphone_deploy.up import down as stop


def down(
    *,
    data: Data = None,
    erase: Annotated[bool, Parameter(negative="", help="Then delete all its data, for good.")] = False,
) -> None:
    """Stop what `cloudphone up` started, in order, and wait until it has stopped. The data is kept.

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
        folder.erase()
        print(f"Deleted {folder.path}.")
