"""input, screencap, wm"""

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor

from cloudphone_phone.android import drawing
from cloudphone_phone.android.layout import Layout
from cloudphone_phone.android.screen import HIGHEST_KEY, KEYS, Scene, Touch
from cloudphone_phone.shell.call import Call, CommandFailed, command

_SOURCES = frozenset({"touchscreen", "keyboard", "mouse", "touchpad", "stylus", "dpad"})
_RGBA = 1
_painters = ThreadPoolExecutor(2, "painter")
"""However many phones are looked at."""


@command("input")
async def input_(call: Call) -> int:
    if not call.android.booted:
        raise CommandFailed("Can't find service: input", 20)
    call.option("-d")
    if call.arguments and call.arguments[0] in _SOURCES:
        call.arguments.pop(0)
    verb, *values = call.arguments or [""]
    match verb, values:
        case "tap", [x, y]:
            call.android.screen.touch(_touch(x, y, x, y))
        case "swipe" | "draganddrop", [x, y, to_x, to_y, *_]:
            call.android.screen.touch(_touch(x, y, to_x, to_y))
        case "text", [text, *more]:
            call.android.activities.type(" ".join([text, *more]).replace("%s", " "))
        case "keyevent", [*keys] if keys:
            for code in [_key(key) for key in keys if not key.startswith("--")]:
                call.android.screen.key(code)
        case "motionevent", [("DOWN" | "MOVE" | "UP" | "CANCEL") as action, x, y]:
            if action == "UP":
                call.android.screen.touch(_touch(x, y, x, y))
        case _:
            await call.complain("Usage: input [SOURCE] text|keyevent|tap|swipe|draganddrop|motionevent ARGUMENTS…")
            return 255
    call.android.used()
    return 0


@command("screencap")
async def screencap(call: Call) -> None:
    """-p: as PNG; else 16 bytes that say the size, and red, green, blue and alpha of each dot."""
    call.option("-d")
    as_png = call.flag("-p")
    scene, layout = call.android.screen.scene(booted=call.android.booted), call.android.screen.layout
    path = call.arguments[-1] if call.arguments else None
    as_png = as_png or (path is not None and path.endswith(".png"))
    paint = drawing.png if as_png else _dots
    picture = await asyncio.get_running_loop().run_in_executor(_painters, paint, scene, layout)
    if path is None:
        await call.out.write(picture)
        return
    with call.android.files.stage() as staged:
        staged.write(picture)
        staged.move_to(call.path(path), 0o660)


@command("wm")
async def wm(call: Call) -> int:
    model = call.android.model
    match call.arguments:
        case ["size"]:
            await call.say(f"Physical size: {model.width}x{model.height}")
        case ["density"]:
            await call.say(f"Physical density: {model.density}")
        case _:
            await call.complain("Error: only `wm size` and `wm density` are known here")
            return 255
    return 0


def _dots(scene: Scene, layout: Layout) -> bytes:
    image = drawing.draw(scene, layout).convert("RGBA")
    return struct.pack("<4I", layout.width, layout.height, _RGBA, 0) + image.tobytes()


def _touch(*values: str) -> Touch:
    try:
        x, y, to_x, to_y = (max(-1e5, min(1e5, float(value))) for value in values)
    except ValueError:
        raise CommandFailed(f"Error: Invalid arguments {' '.join(values)}", 255) from None
    return Touch(x, y, to_x, to_y)


def _key(name: str) -> int:
    code = KEYS.get(name) or KEYS.get(f"KEYCODE_{name}")
    if code is None and name.isascii() and name.isdecimal() and int(name[:6]) <= HIGHEST_KEY:
        code = int(name)
    letter = name.removeprefix("KEYCODE_")
    if code is None and len(letter) == 1 and letter.isascii() and letter.isalnum():
        code = 7 + int(letter) if letter.isdecimal() else 29 + ord(letter.lower()) - ord("a")
    if code is None:
        raise CommandFailed(f"Error: Invalid keycode {name}", 255)
    return code
