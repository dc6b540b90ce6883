"""How commands print what they were told."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Table


def plain(answer: Any) -> str:
    """JSON for a script."""
    return msgspec.json.encode(answer).decode()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    return made
