"""The fonts that invoices are set in: those of the machine, embedded by the glyphs that are used.

No font comes with us: one that knows Chinese alone weighs more than all else. A text is set, character by character,
in the first font that has it. Where no font is found, PDF's own Helvetica shows Western Europe's letters.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from fontTools.ttLib import TTFont

PLACES = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "C:/Windows/Fonts/arial.ttf",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
"""Where systems keep a font for the alphabets, and then one for Chinese, Japanese and Korean."""


class Fonts:
    """`paths` in the order in which they are tried; files that are not there are passed over."""

    def __init__(self, paths: Sequence[str | Path] = ()) -> None:
        self.paths = [Path(path) for path in paths or PLACES if Path(path).is_file()]

    def runs(self, text: str) -> Iterable[tuple[int | None, str]]:
        """`text` in pieces, each with the place among `paths` of the font to set it in; None: no font has it."""
        if self.paths and _characters(self.paths[0]).issuperset(map(ord, text)):
            return [(0, text)]
        last: int | None = 0 if self.paths else None
        placed: list[tuple[int | None, str]] = []
        for character in text:
            # A blank stays in the font that is in use: it looks the same in all.
            last = last if character == " " else self._of(character)
            placed.append((last, character))
        return [(font, "".join(piece for _, piece in pieces)) for font, pieces in groupby(placed, lambda one: one[0])]

    def _of(self, character: str) -> int | None:
        for place, path in enumerate(self.paths):
            if ord(character) in _characters(path):
                return place
        return None


@cache
def _characters(path: Path) -> frozenset[int]:
    with TTFont(path, fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap() or ())
