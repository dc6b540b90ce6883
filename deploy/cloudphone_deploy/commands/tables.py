"""How commands print what they were told."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Table


def plain(answer: Any) -> str:
    """JSON for a script."""
    return msgspec.json.encode(answer).decode()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = Table(box=None, pad_edge=False)
    for heading in headings:
        # Ids are there to be copied: what is too long for the terminal goes on in the next line.
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made
