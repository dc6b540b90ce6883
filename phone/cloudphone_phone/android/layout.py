"""Where things are on the screen: for drawing them, and for knowing what a finger has touched."""

from typing import NamedTuple

from cloudphone_phone.model import Model

COLUMNS = 4


class Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    def inset(self, by: int) -> "Box":
        return Box(self.left + by, self.top + by, self.right - by, self.bottom - by)


class Layout:
    """Of one screen, in dots: a bar with the clock above, back and home below, the app or the launcher between."""

    def __init__(self, model: Model) -> None:
        width, height = model.width, model.height
        self.width, self.height = width, height
        self.unit = max(4, min(width, height) // 36)
        """The height of small text."""
        bar = 2 * self.unit
        self.status = Box(0, 0, width, bar)
        self.content = Box(0, bar, width, height - 2 * bar)
        self.back = Box(0, height - 2 * bar, width // 3, height)
        self.home = Box(width // 3, height - 2 * bar, 2 * width // 3, height)

    def icons(self, count: int) -> list[Box]:
        """Of the launcher's apps, row by row; only those that fit."""
        cell = self.width // COLUMNS
        rows = (self.content.bottom - self.content.top) // (cell + 2 * self.unit)
        return [self._icon(number % COLUMNS, number // COLUMNS, cell) for number in range(min(count, rows * COLUMNS))]

    def _icon(self, column: int, row: int, cell: int) -> Box:
        left, top = column * cell, self.content.top + row * (cell + 2 * self.unit)
        return Box(left, top, left + cell, top + cell).inset(cell // 6)
