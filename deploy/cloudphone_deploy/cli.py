"""The command `cloudphone`."""

import os
import sys
from typing import Any, NoReturn

import cyclopts

from cloudphone_deploy.errors import CommandError
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.settings import SettingsError

HELP = """A cloud-phone platform behind two BFFs with an aggregation cache that is provably fresh.

On one machine, `cloudphone up` runs everything. Elsewhere, `cloudphone migrate` prepares the databases and
`cloudphone serve` runs what this machine is for. Settings are environment variables: `cloudphone config` shows them.
"""

app = cyclopts.App(name="cloudphone", help=HELP, help_format="markdown", result_action="return_value")

# By name, so that a command imports only what it needs.
COMMANDS = {
    **{
        name: f"{name}:{name}"
        for name in ("up", "down", "serve", "migrate", "seed", "restored", "config", "phone", "adb", "doctor")
    },
    **{name: f"{name}:app" for name in ("admin", "tenant", "warmup", "cache", "bus", "ledger", "saga")},
    "check-consistency": "check_consistency:check_consistency",
}
for name, where in COMMANDS.items():
    app.command(f"cloudphone_deploy.commands.{where}", name=name)


def main(arguments: list[str] | None = None) -> Any:
    """Exits with 1 and one sentence when the thing cannot be done, with 1 and usage when it was not understood."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if all(argument.startswith("-") for argument in arguments):
        _import_all()
    try:
        app(arguments)
    except (CommandError, SettingsError) as error:
        _fail(str(error))
    except DomainError as refusal:
        _fail(f"{refusal}.")
    except Unavailable as outage:
        _fail(f"The {outage.service} service gives no answer ({outage.reason}): is it running?")
    except BrokenPipeError:
        # Whoever read our output has read enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(sentence: str) -> NoReturn:
    print(f"cloudphone: {sentence}", file=sys.stderr)
    raise SystemExit(1) from None


def _import_all() -> None:
    """Only an imported command has its line in the overview."""
    for name in COMMANDS:
        app[name]
