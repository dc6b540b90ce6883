"""An invoice as a PDF: the same bytes for the same invoice, whatever was paid since. Takes seconds of CPU for 10,000
lines, so it is to be called in a thread."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
from fpdf import FPDF

from cloudphone_shared.contracts.invoice import Invoice, InvoiceLine

from ..orders.words import decimal_of
from .fonts import Fonts

_TOP, _BOTTOM, _LEFT, _RIGHT = 18.0, 275.0, 15.0, 195.0
_ROW = 4.6
_TITLE, _BODY, _SMALL = 16, 9, 7.5
_COLUMNS = (("Quantity", 122.0), ("Tax %", 138.0), ("Tax", 165.0), ("Amount", _RIGHT))
"""Right edges, in millimetres; the number and the description stand before them."""
_NUMBER_EDGE, _DESCRIPTION, _DESCRIPTION_EDGE = 25.0, 27.0, 104.0


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """`corrected` is the number of the invoice that a credit note corrects."""

    invoice: Invoice
    seller: str
    seller_tax_number: str | None
    seller_country: str | None
    corrected: str | None
    reason: str | None


def pdf(printed: Printed, fonts: Fonts) -> bytes:
    sheet = _Sheet(fonts)
    sheet.document.set_creation_date(printed.invoice.issued_at)
    sheet.document.set_title(printed.invoice.number)
    _head(sheet, printed)
    _table(sheet, printed.invoice.lines, printed.invoice.currency)
    _sums(sheet, printed.invoice)
    return sheet.bytes()


class _Sheet:
    """Where on which page we are: `y` in millimetres from the top."""

    def __init__(self, fonts: Fonts) -> None:
        self.document = FPDF()
        self.document.set_auto_page_break(False)
        self.document.set_compression(True)
        self._fonts = fonts
        self._size: float = _BODY
        self._present: tuple[int | None, float] | None = None
        self._known: set[int] = set()
        self.turn()

    def turn(self) -> None:
        self.document.add_page()
        self.y, self._present = _TOP, None
        self._pen(None if not self._fonts.paths else 0, _SMALL)
        self.right(_RIGHT, f"{self.document.page_no()}", _SMALL, y=288.0)

    def down(self, rows: float = 1.0) -> None:
        self.y += rows * _ROW

    def left(self, x: float, text: str, size: float = _BODY) -> None:
        for font, piece in self._fonts.runs(text):
            self._pen(font, size)
            piece = _sayable(font, piece)
            self.document.text(x, self.y, piece)
            x += self._width_of(piece)

    def right(self, x: float, text: str, size: float = _BODY, *, y: float | None = None) -> None:
        """Figures: one font has them all."""
        self._pen(0 if self._fonts.paths else None, size)
        self.document.text(x - self._width_of(text), self.y if y is None else y, text)

    def cut(self, text: str, width: float, size: float) -> str:
        """What of `text` fits in `width`."""
        if self._width(text, size) <= width:
            return text
        while text and self._width(text + "…", size) > width:
            text = text[:-1]
        return text.rstrip() + "…"

    def bytes(self) -> bytes:
        return bytes(self.document.output())

    def _width(self, text: str, size: float) -> float:
        total = 0.0
        for font, piece in self._fonts.runs(text):
            self._pen(font, size)
            total += self._width_of(_sayable(font, piece))
        return total

    def _width_of(self, text: str) -> float:
        """In the present font, without the library's search for emphasis and line breaks."""
        font = self.document.current_font
        return 0.0 if font is None else font.get_text_width(text, self._size, None)[1] / self.document.k

    def _pen(self, font: int | None, size: float) -> None:
        if (font, size) == self._present:
            return
        if font is not None and font not in self._known:
            self.document.add_font(f"font{font}", fname=str(self._fonts.paths[font]))
            self._known.add(font)
        self.document.set_font("helvetica" if font is None else f"font{font}", size=size)
        self._present, self._size = (font, size), size


def _sayable(font: int | None, text: str) -> str:
    return text if font is not None else text.encode("latin-1", "replace").decode("latin-1")


def _head(sheet: _Sheet, printed: Printed) -> None:
    invoice, to = printed.invoice, printed.invoice.bill_to
    note = invoice.kind == "credit-note"
    sheet.left(_LEFT, f"{'Credit note' if note else 'Invoice'} {invoice.number}", _TITLE)
    sheet.down(2)
    for line in _seller(printed):
        sheet.left(_LEFT, line)
        sheet.down()
    sheet.down()
    # The first lines only: an address is to leave room for what was bought.
    address = (to.address or "").splitlines()[:8]
    for line in [to.name, *address, to.country, to.tax_number and f"Tax number {to.tax_number}", to.email]:
        if line:
            sheet.left(_LEFT, sheet.cut(line, _RIGHT - _LEFT, _BODY))
            sheet.down()
    sheet.down()
    for line in _dates(printed):
        sheet.left(_LEFT, sheet.cut(line, _RIGHT - _LEFT, _BODY))
        sheet.down()
    sheet.down()


def _seller(printed: Printed) -> Iterable[str]:
    yield printed.seller
    if printed.seller_country:
        yield printed.seller_country
    if printed.seller_tax_number:
        yield f"Tax number {printed.seller_tax_number}"


def _dates(printed: Printed) -> Iterable[str]:
    invoice = printed.invoice
    yield f"Date {invoice.issued_at:%Y-%m-%d}"
    yield f"Period {invoice.period_start:%Y-%m-%d} to {invoice.period_end:%Y-%m-%d %H:%M} UTC"
    if invoice.kind == "invoice":
        yield f"To be paid by {invoice.due_at:%Y-%m-%d}"
    if printed.corrected:
        yield f"Corrects invoice {printed.corrected}"
    if printed.reason:
        yield f"Reason: {printed.reason}"


def _table(sheet: _Sheet, lines: Sequence[InvoiceLine], currency: str) -> None:
    _columns(sheet)
    for line in lines:
        if sheet.y > _BOTTOM:
            sheet.turn()
            _columns(sheet)
        sheet.right(_NUMBER_EDGE, str(line.number), _SMALL)
        described = sheet.cut(line.description, _DESCRIPTION_EDGE - _DESCRIPTION, _SMALL)
        sheet.left(_DESCRIPTION, described, _SMALL)
        figures = (
            f"{line.quantity.normalize():f} {line.unit}".removesuffix(" 1"),
            f"{line.tax_percent.normalize():f}",
            decimal_of(line.tax, currency),
            decimal_of(line.amount, currency),
        )
        for (_, edge), figure in zip(_COLUMNS, figures, strict=True):
            sheet.right(edge, figure, _SMALL)
        sheet.down()


def _columns(sheet: _Sheet) -> None:
    sheet.right(_NUMBER_EDGE, "No.", _SMALL)
    sheet.left(_DESCRIPTION, "Description", _SMALL)
    for name, edge in _COLUMNS:
        sheet.right(edge, name, _SMALL)
    sheet.document.line(_LEFT, sheet.y + 1.2, _RIGHT, sheet.y + 1.2)
    sheet.down(1.2)


def _sums(sheet: _Sheet, invoice: Invoice) -> None:
    orders = sum(line.amount for line in invoice.lines if line.order_id)
    rows = [(f"{tax.name} {_percent(tax.percent)} of {_money(tax.net, invoice)}", tax.tax) for tax in invoice.taxes]
    rows.append((f"Total {invoice.currency}, taxes contained", invoice.total))
    if orders and invoice.kind == "invoice":
        rows.append(("Of it paid when it was ordered", orders))
    if sheet.y + (len(rows) + 1) * _ROW > _BOTTOM:
        sheet.turn()
    sheet.document.line(_LEFT, sheet.y - 2, _RIGHT, sheet.y - 2)
    sheet.down(0.5)
    for said, amount in rows:
        sheet.left(_DESCRIPTION, sheet.cut(said, 130.0, _BODY))
        sheet.right(_RIGHT, _money(amount, invoice))
        sheet.down()


def _percent(percent: Decimal) -> str:
    return f"{percent.normalize():f} %"


def _money(amount: int, invoice: Invoice) -> str:
    return decimal_of(amount, invoice.currency)
