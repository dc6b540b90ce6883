"""What fingers and keys do, and what is to be seen."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from cloudphone_phone.model import Model

from .activities import HOME, Activities
from .layout import Layout
from .packages import SYSTEM, Packages

_SHOWN_TOUCHES = 12
KEYS = {
    "KEYCODE_HOME": 3,
    "KEYCODE_BACK": 4,
    "KEYCODE_DPAD_UP": 19,
    "KEYCODE_DPAD_DOWN": 20,
    "KEYCODE_DPAD_LEFT": 21,
    "KEYCODE_DPAD_RIGHT": 22,
    "KEYCODE_DPAD_CENTER": 23,
    "KEYCODE_VOLUME_UP": 24,
    "KEYCODE_VOLUME_DOWN": 25,
    "KEYCODE_POWER": 26,
    "KEYCODE_TAB": 61,
    "KEYCODE_SPACE": 62,
    "KEYCODE_ENTER": 66,
    "KEYCODE_DEL": 67,
    "KEYCODE_MENU": 82,
    "KEYCODE_ESCAPE": 111,
    "KEYCODE_VOLUME_MUTE": 164,
    "KEYCODE_APP_SWITCH": 187,
    "KEYCODE_SLEEP": 223,
    "KEYCODE_WAKEUP": 224,
}
HIGHEST_KEY = 320
_TYPING = {61: "\t", 62: " ", 66: "\n"}


class Touch(NamedTuple):
    """From where to where a finger went, in dots; the same point for a tap."""

    x: float
    y: float
    to_x: float
    to_y: float


class Icon(NamedTuple):
    package: str
    label: str


class Scene(NamedTuple):
    """All that a picture of the screen shows, as of one moment; `app` None: the launcher."""

    awake: bool
    booted: bool
    clock: float
    name: str
    icons: tuple[Icon, ...]
    pictures: dict[str, bytes]
    app: Icon | None
    version: str
    typed: str
    touches: tuple[Touch, ...]


class Screen:
    def __init__(
        self,
        model: Model,
        activities: Activities,
        packages: Packages,
        clock: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self.layout = Layout(model)
        self._model, self._activities, self._packages, self._clock, self._log = model, activities, packages, clock, log
        self.restart()

    def restart(self) -> None:
        self.awake = True
        self._touches: deque[Touch] = deque(maxlen=_SHOWN_TOUCHES)

    def touch(self, touch: Touch) -> None:
        """A touch that begins and ends on the same thing starts, ends or leaves an app."""
        self.awake = True
        self._touches.append(touch)
        for box, react in ((self.layout.back, self._activities.back), (self.layout.home, self._activities.home)):
            if box.holds(touch.x, touch.y) and box.holds(touch.to_x, touch.to_y):
                react()
                return
        if self._activities.front.package != HOME:
            return
        icons = self._icons()
        for icon, box in zip(icons, self.layout.icons(len(icons)), strict=False):
            if box.holds(touch.x, touch.y) and box.holds(touch.to_x, touch.to_y):
                self.start(icon.package)

    def start(self, package: str, activity: str | None = None) -> bool:
        """Brings an app to the front. Whether there is one of that name that can be started."""
        if package in SYSTEM:
            name = activity or f"{package}.Main"
        elif package in self._packages.installed:
            name = activity or self._packages.installed[package].activity or ""
        else:
            return False
        if not name:
            return False
        app = self._activities.start(package, name)
        self._log(f"START u0 {{cmp={package}/{name}}} pid {app.pid}")
        return True

    def key(self, code: int) -> None:
        if code in (26, 223, 224):
            self.awake = not self.awake if code == 26 else code == 224
            return
        self.awake = True
        if code == 3:
            self._activities.home()
        elif code == 4:
            self._activities.back()
        elif code == 67:
            self._activities.erase()
        elif typed := _TYPING.get(code) or _letter(code):
            self._activities.type(typed)

    def scene(self, *, booted: bool) -> Scene:
        app = self._activities.front
        icons = tuple(self._icons()) if app.package == HOME else ()
        names = [icon.package for icon in icons] or [app.package]
        shown = self._packages.installed.get(app.package)
        return Scene(
            awake=self.awake,
            booted=booted,
            clock=self._clock(),
            name=self._model.name,
            icons=icons,
            pictures={name: picture for name in names if (picture := self._packages.icon(name))},
            app=None if app.package == HOME else Icon(app.package, self._packages.label(app.package)),
            version=shown.version_name if shown else self._model.release,
            typed=app.typed,
            touches=tuple(self._touches),
        )

    def _icons(self) -> list[Icon]:
        """The launcher's, by label."""
        names = [*(name for name in SYSTEM if name != HOME)]
        names += [name for name, package in self._packages.installed.items() if package.activity]
        return sorted((Icon(name, self._packages.label(name)) for name in names), key=lambda icon: (icon.label, icon))


def _letter(code: int) -> str:
    """KEYCODE_0 to KEYCODE_9 and KEYCODE_A to KEYCODE_Z."""
    if 7 <= code <= 16:
        return str(code - 7)
    return chr(ord("a") + code - 29) if 29 <= code <= 54 else ""
