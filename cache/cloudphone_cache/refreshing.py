"""Refreshing ahead: what is read often is composed before its next reader comes, once it has changed or expires soon.

Over all processes one composes it, whoever gets its lease; the others let it be, and find it in Redis at their next
read. Here the most read go first, few at a time, and all of it gives way to fills that somebody waits for.
"""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from .entry import Entry
from .filling import Filler
from .knowledge import Knowledge
from .local import Kept, Local
from .store import Store
from .view import View

ViewOf = Callable[[str], tuple[View[Any], Mapping[str, str]] | None]

WINDOW_SECONDS = 30.0
"""Hits of this window and the one before count as of late."""
_LATE = 0.005
_LONGEST_PAUSE = 0.05
_AT_A_TURN = 200
_SCANS = 4


class Refresher:
    """`hot`: hits of late from which on a view is refreshed once it has changed. `at_once`: fills of ours in flight at
    most. `waiting`: the hottest of those that must wait; others are left to their next reader. `live`: so many fills
    that somebody waits for make ours wait."""

    def __init__(
        self,
        local: Local,
        filler: Filler,
        knowledge: Knowledge,
        store: Store,
        view_of: ViewOf,
        counts: Counter[str],
        *,
        hot: int = 4,
        at_once: int = 4,
        waiting: int = 2048,
        live: int = 8,
    ) -> None:
        self._local = local
        self._filler = filler
        self._knowledge = knowledge
        self._store = store
        self._view_of = view_of
        self._counts = counts
        self.hot, self.at_once, self.waiting, self.live = hot, at_once, waiting, live
        self.running = 0
        self._queue: list[tuple[int, int, str, Entry]] = []
        self._queued: set[str] = set()
        self._order = 0
        self._scans: deque[list[Kept]] = deque(maxlen=_SCANS)
        self._scanning = False
        self._timer: asyncio.TimerHandle | None = None
        self._pause = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._knowledge.on_marked = self.changed
        self._knowledge.on_many_marked = self._many_changed
        self._spawn(self._turn_windows())

    async def close(self) -> None:
        self._loop = self._knowledge.on_marked = self._knowledge.on_many_marked = None
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queue.clear()
        self._queued.clear()

    def changed(self, place: Kept) -> None:
        """What is held there has been outdated by a change. Never refreshed twice without a read in between."""
        heat = place.heat
        if heat >= self.hot and place.hits != place.refreshed:
            self._offer(heat, place.key, place.entry)

    def expiring(self, key: str, entry: Entry) -> None:
        """It is still proven, and is to be composed anew behind its readers' backs; now, if nothing is in the way."""
        place = self._local.place(key)
        self._offer(0 if place is None else place.heat, key, entry)
        if self._timer is not None and not self._pause and not self._scanning:
            self._timer.cancel()
            self._pump()

    def _offer(self, heat: int, key: str, entry: Entry) -> None:
        if self._loop is None or key in self._queued or entry.degraded:
            return
        self._order += 1
        self._queued.add(key)
        heapq.heappush(self._queue, (-heat, self._order, key, entry))
        if len(self._queue) >= 2 * self.waiting:
            self._queue = heapq.nsmallest(self.waiting, self._queue)
            self._queued = {key for _, _, key, _ in self._queue}
        self._wake(self._pause)

    def _many_changed(self, places: list[Kept]) -> None:
        self._scans.append(places)
        if not self._scanning and self._loop is not None:
            self._scanning = True
            self._spawn(self._scan())

    async def _scan(self) -> None:
        """Finds the hot ones among very many, some at each turn of the loop, before any is begun with."""
        try:
            while self._scans:
                places = self._scans.popleft()
                for start in range(0, len(places), _AT_A_TURN):
                    for place in places[start : start + _AT_A_TURN]:
                        if place.entry.watched and place.heat >= self.hot and not self._knowledge.current(place.entry):
                            self.changed(place)
                    await asyncio.sleep(0)
        finally:
            self._scanning = False
        self._wake(0)

    def _wake(self, pause: float) -> None:
        if self._loop is not None and self._timer is None and self._queue and self.running < self.at_once:
            self._timer = self._loop.call_later(pause, self._pump, self._loop.time() + pause)

    def _pump(self, due_at: float | None = None) -> None:
        """Begins one fill. The later the loop comes to it, the longer until the next: others need the processor."""
        self._timer = None
        if self._loop is None or self._scanning:
            return
        late = due_at is not None and self._loop.time() - due_at > _LATE
        self._pause = min(max(2 * self._pause, 0.002), _LONGEST_PAUSE) if late else self._pause / 2
        if self._pause < 0.001:
            self._pause = 0.0
        if len(self._filler.flights) - self.running >= self.live:
            self._wake(_LONGEST_PAUSE)
            return
        while self._queue and self.running < self.at_once:
            if self._begin(*heapq.heappop(self._queue)[2:]):
                break
        self._wake(self._pause)

    def _begin(self, key: str, entry: Entry) -> bool:
        self._queued.discard(key)
        place = self._local.place(key)
        base = entry if place is None else place.entry
        if key in self._filler.flights or not self._store.available:
            return False
        outdated = not self._knowledge.current(base)
        found = self._view_of(key)
        if found is None or found[0].bounded_to is not None or (base is not entry and not outdated):
            return False
        if place is not None:
            place.refreshed = place.hits
        self._counts["refreshed_ahead" if outdated else "refreshed_behind"] += 1
        view, params = found
        self.running += 1
        flight = self._filler.begin(view, params, key, base, behind=True)
        assert flight.task is not None
        flight.task.add_done_callback(self._landed)
        return True

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.running -= 1
        self._wake(self._pause)

    async def _turn_windows(self) -> None:
        while True:
            await asyncio.sleep(WINDOW_SECONDS)
            places = self._local.places()
            for start in range(0, len(places), _AT_A_TURN):
                self._local.turn_window(places[start : start + _AT_A_TURN])
                await asyncio.sleep(0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
