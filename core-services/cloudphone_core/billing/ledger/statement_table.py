"""A statement as CSV, a line per transaction, amounts in minor units."""

import csv
import io
from collections.abc import AsyncIterator

from cloudphone_shared.contracts.ledger import Transaction

HEADINGS = ("at", "kind", "amount", "currency", "balance_after", "reason", "reference", "transfer_id")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def as_csv(lines: AsyncIterator[Transaction]) -> AsyncIterator[str]:
    yield _line(HEADINGS)
    async for line in lines:
        yield _line((
            line.at.isoformat(), line.kind, line.amount, line.currency, line.balance_after, plain(line.reason),
            plain(line.reference), line.transfer_id,
        ))  # fmt: skip


def plain(text: str | None) -> str:
    """So that no spreadsheet takes somebody's words for a formula."""
    text = text or ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: tuple[object, ...]) -> str:
    row = io.StringIO()
    csv.writer(row).writerow(cells)
    return row.getvalue()
