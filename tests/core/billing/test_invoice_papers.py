"""An invoice on paper and in a spreadsheet: every name in letters that it is written in, nothing that runs."""

import csv
import io
import re
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from cloudphone_core.billing.invoices.fonts import Fonts
from cloudphone_core.billing.invoices.pdf import Printed, pdf
from cloudphone_shared.contracts.invoice import BillTo, Invoice, InvoiceLine, TaxTotal
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper

NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)
VAT = Decimal("19.000")


def font(path: Path, letters: Iterable[str]) -> Path:
    """With a box for each letter."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((0, 500))
    pen.lineTo((500, 500))
    pen.closePath()
    box = pen.glyph()
    names = {ord(letter): f"u{ord(letter):04X}" for letter in letters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], box))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular", "fullName": path.stem})
    builder.setupOS2(sTypoAscender=800, sCapHeight=700)
    builder.setupPost()
    builder.save(path)
    return path


def printed(name: str, lines: int = 1) -> Printed:
    to = BillTo(name=name, email="w@example.com", address="1 Long Street\nTown", country="CN", tax_number=None)
    invoice = Invoice(
        id=uuid7(), tenant_id=uuid7(), user_id=uuid7(), kind="invoice", number="INV-2026-000001", state="open",
        currency="USD", total=119 * lines, tax=19 * lines, paid=0, credited=0, due=119 * lines, period_start=NOW,
        period_end=NOW, issued_at=NOW, due_at=NOW, bill_to=to, corrects=None, version=1,
        lines=[
            InvoiceLine(
                number=number, kind="usage", description=f"Pixel {number}", device_id=None, order_id=None,
                quantity=Decimal("1.5"), unit="h", amount=119, tax_percent=VAT, tax=19,
            )
            for number in range(1, lines + 1)
        ],
        taxes=[TaxTotal(name="VAT", percent=VAT, net=100 * lines, tax=19 * lines)],
    )  # fmt: skip
    return Printed(
        invoice=invoice, seller="Acme", seller_tax_number=None, seller_country=None, corrected=None, reason=None
    )


def unpacked(document: bytes) -> bytes:
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL)
    return b"\n".join(zlib.decompress(each) if each[:1] == b"x" else each for each in found)


def test_names_are_set_in_the_first_font_that_has_them_and_the_same_invoice_is_the_same_bytes(tmp_path: Path) -> None:
    latin = font(tmp_path / "Latin.ttf", map(chr, [*range(32, 127), *map(ord, "üŁ…")]))
    chinese = font(tmp_path / "Chinese.ttf", "张伟")
    fonts, paper = Fonts([latin, chinese, tmp_path / "absent.ttf"]), printed("张伟 Łukasz Müller", lines=120)
    document = pdf(paper, fonts)
    assert document == pdf(paper, Fonts([latin, chinese]))
    assert document.count(b"/FontFile2") == 2 and b"+Latin" in document and b"+Chinese" in document
    texts = unpacked(document).upper()
    for letter in "张伟Łü":
        assert f"{ord(letter):04X}".encode() in texts
    assert document.count(b"/Type /Page\n") == 3


def test_without_any_font_what_western_europe_writes_is_shown_and_nothing_fails() -> None:
    document = unpacked(pdf(printed("Müller 张伟"), Fonts(["/nowhere.ttf"])))
    assert "Müller ??".encode("latin-1") in document


@pytest.mark.anyio
async def test_the_table_has_every_line_and_no_formula(world: World) -> None:
    ana, device = Shopper(world), world.owners.device(world.acme, name='=HYPERLINK("http://evil")')
    await ana.subscribe(device.id, rate=60, price=1250, name="+1 Plan", device_name=device.name)
    await ana.run(device.id, 1, 3)
    world.now += timedelta(hours=4)
    [invoice] = await ana.issue()
    path = f"/v1/invoices/{invoice['id']}"
    answer = await world.client.get(f"{path}/csv", headers=ana.headers)
    assert answer.headers["content-disposition"] == 'attachment; filename="INV-2026-000001.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["amount"] for row in rows] == ["12.50", "1.20"]
    assert rows[1]["description"].startswith("'=HYPERLINK")
    paper = await world.client.get(f"{path}/pdf", headers=ana.headers)
    assert paper.content.startswith(b"%PDF-") and paper.headers["content-type"] == "application/pdf"
    await ana.recharge(1000)
    await world.ok("POST", f"{path}/pay", ana.headers)
    assert (await world.client.get(f"{path}/pdf", headers=ana.headers)).content == paper.content
