"""Draws the screen. Takes tens of milliseconds: not for an event loop."""

import io
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from .layout import Box, Layout
from .screen import Icon, Scene, Touch

_NIGHT, _PAPER, _INK, _PALE, _MARK = (24, 32, 52), (245, 246, 250), (30, 34, 44), (150, 158, 176), (255, 86, 48)
_WIDEST_ICON = 1024
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def png(scene: Scene, layout: Layout) -> bytes:
    file = io.BytesIO()
    draw(scene, layout).save(file, "PNG", compress_level=1)
    return file.getvalue()


def draw(scene: Scene, layout: Layout) -> Image.Image:
    image = Image.new("RGB", (layout.width, layout.height), (0, 0, 0))
    if not scene.awake:
        return image
    canvas = ImageDraw.Draw(image)
    if not scene.booted:
        _middle(canvas, Box(0, 0, layout.width, layout.height), "cloudphone", _font(3 * layout.unit), _PAPER)
        return image
    canvas.rectangle((0, 0, layout.width, layout.height), fill=_PAPER if scene.app else _NIGHT)
    if scene.app is None:
        _launcher(image, canvas, scene, layout)
    else:
        _app(image, canvas, scene, scene.app, layout)
    _bars(canvas, scene, layout)
    for touch in scene.touches:
        _touch(canvas, touch, layout.unit)
    return image


def _bars(canvas: ImageDraw.ImageDraw, scene: Scene, layout: Layout) -> None:
    unit, font = layout.unit, _font(layout.unit)
    canvas.rectangle(layout.status, fill=(0, 0, 0))
    canvas.text((unit, unit // 2), datetime.fromtimestamp(scene.clock, UTC).strftime("%H:%M"), font=font, fill=_PAPER)
    canvas.text((layout.width - unit, unit // 2), scene.name, font=font, fill=_PALE, anchor="ra")
    canvas.rectangle((0, layout.back.top, layout.width, layout.height), fill=(0, 0, 0))
    left, middle = layout.back, layout.home
    x, y = (left.left + left.right) // 2, (left.top + left.bottom) // 2
    canvas.polygon([(x - unit, y), (x + unit, y - unit), (x + unit, y + unit)], outline=_PAPER)
    x = (middle.left + middle.right) // 2
    canvas.ellipse((x - unit, y - unit, x + unit, y + unit), outline=_PAPER, width=2)


def _launcher(image: Image.Image, canvas: ImageDraw.ImageDraw, scene: Scene, layout: Layout) -> None:
    for icon, box in zip(scene.icons, layout.icons(len(scene.icons)), strict=False):
        _icon(image, canvas, icon, scene.pictures.get(icon.package), box)
        label = Box(box.left - layout.unit, box.bottom, box.right + layout.unit, box.bottom + 2 * layout.unit)
        _middle(canvas, label, icon.label[:14], _font(layout.unit), _PAPER)


def _app(image: Image.Image, canvas: ImageDraw.ImageDraw, scene: Scene, app: Icon, layout: Layout) -> None:
    unit, top = layout.unit, layout.content.top
    canvas.rectangle((0, top, layout.width, top + 5 * unit), fill=_colour(app.package))
    _icon(image, canvas, app, scene.pictures.get(app.package), Box(unit, top + unit, 4 * unit, top + 4 * unit))
    canvas.text((5 * unit, top + 3 * unit // 2), app.label[:30], font=_font(2 * unit), fill=_PAPER)
    canvas.text((unit, top + 6 * unit), f"{app.package} {scene.version}"[:60], font=_font(unit), fill=_PALE)
    for number, line in enumerate(_lines(scene.typed, 40)[-12:]):
        canvas.text((unit, top + (9 + 2 * number) * unit), line, font=_font(3 * unit // 2), fill=_INK)


def _icon(image: Image.Image, canvas: ImageDraw.ImageDraw, icon: Icon, picture: bytes | None, box: Box) -> None:
    drawn = _picture(picture, box.right - box.left) if picture else None
    if drawn is not None:
        image.paste(drawn, (box.left, box.top), drawn)
        return
    side = box.right - box.left
    canvas.rounded_rectangle(box, radius=side // 5, fill=_colour(icon.package))
    _middle(canvas, box, icon.label[:1].upper(), _font(side // 2), _PAPER)


def _picture(picture: bytes, side: int) -> Image.Image | None:
    """None for one that cannot be shown, or that would take too much memory."""
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "WEBP")) as opened:
            if max(opened.size) > _WIDEST_ICON:
                return None
            return opened.convert("RGBA").resize((side, side))
    except Exception:
        # Whatever Pillow says of a picture that somebody made: it is not shown.
        return None


def _touch(canvas: ImageDraw.ImageDraw, touch: Touch, unit: int) -> None:
    x, y, to_x, to_y = touch
    if (x, y) != (to_x, to_y):
        canvas.line((x, y, to_x, to_y), fill=_MARK, width=max(2, unit // 4))
    canvas.ellipse((to_x - unit, to_y - unit, to_x + unit, to_y + unit), outline=_MARK, width=max(2, unit // 4))


def _middle(canvas: ImageDraw.ImageDraw, box: Box, text: str, font: Font, fill: tuple[int, int, int]) -> None:
    canvas.text(((box.left + box.right) / 2, (box.top + box.bottom) / 2), text, font=font, fill=fill, anchor="mm")


def _lines(text: str, width: int) -> list[str]:
    return [line[at : at + width] for line in text.split("\n") for at in range(0, max(1, len(line)), width)]


def _colour(name: str) -> tuple[int, int, int]:
    """Always the same one for a name."""
    red, green, blue = sha256(name.encode()).digest()[:3]
    return 40 + red // 2, 40 + green // 2, 40 + blue // 2


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
