"""Runs Cloudphone: the command line, one-machine supervisor and whatever starts processes."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    raise SystemExit(
        f"Cloudphone needs Python 3.11 or newer, and this is {sys.version.split()[0]}: "
        "install a newer one and run `make up` again."
    )
