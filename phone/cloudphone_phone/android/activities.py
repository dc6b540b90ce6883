"""Which apps run, and which one is in front."""

from collections.abc import Callable
from itertools import count

HOME = "com.android.launcher3"
LONGEST_TYPED = 500
MOST_RUNNING = 40
"""More than these, and Android ends the one that was in front longest ago."""


class App:
    """One running app: its process and what was typed into it."""

    def __init__(self, package: str, activity: str, pid: int, started_at: float) -> None:
        self.package, self.activity, self.pid, self.started_at = package, activity, pid, started_at
        self.typed = ""


class Activities:
    """`running`: the one in front is last; the launcher always runs, and is in front when nothing else is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pids = count(2000)
        self.running: dict[str, App] = {}
        self.restart()

    def restart(self) -> None:
        self.running = {}
        self.start(HOME, f"{HOME}.Launcher")

    @property
    def front(self) -> App:
        return next(reversed(self.running.values()))

    def start(self, package: str, activity: str) -> App:
        app = self.running.pop(package, None) or App(package, activity, next(self._pids), self._clock())
        app.activity = activity
        self.running[package] = app
        if len(self.running) > MOST_RUNNING:
            oldest = next(name for name in self.running if name not in (HOME, package))
            del self.running[oldest]
        return app

    def stop(self, package: str) -> None:
        if package != HOME:
            self.running.pop(package, None)

    def home(self) -> None:
        self.running[HOME] = self.running.pop(HOME)

    def back(self) -> None:
        """Ends what is in front and shows the launcher."""
        self.stop(self.front.package)
        self.home()

    def type(self, text: str) -> None:
        shown = text.encode("utf-8", "replace").decode()
        self.front.typed = (self.front.typed + shown)[-LONGEST_TYPED:]

    def erase(self) -> None:
        self.front.typed = self.front.typed[:-1]
