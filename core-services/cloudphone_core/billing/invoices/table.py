"""An invoice's lines as CSV, piece by piece."""

import csv
import io
from collections.abc import AsyncIterator

from cloudphone_shared.contracts.invoice import InvoiceLine

from ..orders.words import decimal_of

COLUMNS = (
    "invoice", "number", "kind", "description", "device_id", "order_id", "quantity", "unit", "amount", "tax_percent",
    "tax", "currency",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PIECE = 500


def harmless(text: str) -> str:
    """A text that a spreadsheet takes for text: one that would begin a formula is quoted by an apostrophe."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


async def table(number: str, currency: str, lines: AsyncIterator[InvoiceLine]) -> AsyncIterator[bytes]:
    """UTF-8 with a mark, by which spreadsheets know it; amounts as decimals."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(COLUMNS)
    waiting = 0
    async for line in lines:
        writer.writerow(_row(number, currency, line))
        waiting += 1
        if waiting == _PIECE:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
            waiting = 0
    yield buffer.getvalue().encode()


def _row(number: str, currency: str, line: InvoiceLine) -> tuple[object, ...]:
    return (
        number,
        line.number,
        line.kind,
        harmless(line.description),
        line.device_id or "",
        line.order_id or "",
        line.quantity,
        line.unit,
        decimal_of(line.amount, currency),
        line.tax_percent,
        decimal_of(line.tax, currency),
        currency,
    )
