"""`cloudphone config`"""

import sys

import msgspec
from rich.console import Console
from rich.table import Table

from cloudphone_deploy.commands.options import Json
from cloudphone_deploy.surroundings import SETTINGS
from cloudphone_shared.settings import Setting, explain, unknown


def config(*, json: Json = False) -> None:
    """Show every setting: its variable, its value (secrets hidden), and where it comes from.

    A setting comes from its variable, from the file that the variable with `_FILE` names, from the TOML file that
    CLOUDPHONE_CONFIG names, or from its default, in this order. Misspelt ones are pointed out. Exit code 1 when one
    cannot be read.

    For example:

    - `cloudphone config`
    - `CLOUDPHONE_CONFIG=/etc/cloudphone.toml cloudphone config --json`
    """
    settings = explain(*SETTINGS)
    strange = unknown(*SETTINGS)
    if json:
        print(msgspec.json.encode({"settings": settings, "unknown": strange}).decode())
    else:
        Console(highlight=False, width=None if sys.stdout.isatty() else 240).print(_table(settings))
    for name in strange:
        print(f"cloudphone: {name} is no setting: look for a misspelling.", file=sys.stderr)
    unreadable = [setting for setting in settings if setting.origin == "unreadable"]
    for setting in unreadable:
        print(f"cloudphone: {setting.problem}.", file=sys.stderr)
    if unreadable:
        raise SystemExit(1)


def _table(settings: list[Setting]) -> Table:
    table = Table("variable", "value", "from", box=None, pad_edge=False)
    for setting in settings:
        table.add_row(
            setting.variable, setting.value or f"[dim]{setting.problem or '–'}[/]", f"[dim]{setting.origin}[/]"
        )
    return table
