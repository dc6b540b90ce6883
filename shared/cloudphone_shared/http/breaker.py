"""A circuit breaker on errors and on latency, and a budget for retries."""

import time
from collections import deque
from collections.abc import Callable
from typing import Literal


class Breaker:
    """Opens when, of the last `window` seconds' calls (at least `least`), `share` failed or were slower than `slow`.

    Open for `rest` seconds, doubling up to 16 times that while its single probes fail; one success closes it.
    """

    def __init__(
        self,
        *,
        share: float = 0.5,
        least: int = 10,
        window: float = 10.0,
        slow: float = 1.5,
        rest: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share, self._least, self._window, self._slow, self._rest = share, least, window, slow, rest
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque(maxlen=200)
        self._bad = 0
        self._open_until = 0.0
        self._opened = 0
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if not self._opened:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    def admits(self) -> bool:
        """Whether a call may go out now; in the half-open state one probe may."""
        state = self.state
        if state == "closed":
            return True
        if state == "open" or self._probing:
            return False
        self._probing = True
        return True

    def record(self, *, ok: bool, seconds: float) -> None:
        now = self._clock()
        if self._opened:
            self._probing = False
            if ok:
                self._opened = self._bad = 0
                self._calls.clear()
            else:
                self._open(now)
            return
        self._remember(now, bad=not ok or seconds > self._slow)
        if len(self._calls) >= self._least and self._bad >= self._share * len(self._calls):
            self._open(now)

    def abandon(self) -> None:
        """The call was cancelled: it proves nothing."""
        self._probing = False

    def _remember(self, now: float, *, bad: bool) -> None:
        if len(self._calls) == self._calls.maxlen:
            self._bad -= self._calls.popleft()[1]
        self._calls.append((now, bad))
        self._bad += bad
        while self._calls[0][0] < now - self._window:
            self._bad -= self._calls.popleft()[1]

    def _open(self, now: float) -> None:
        self._open_until = now + self._rest * 2 ** min(self._opened, 4)
        self._opened += 1


class RetryBudget:
    """Retries cost a token; every call earns `share` of one, up to `most`: an outage is not multiplied."""

    def __init__(self, *, share: float = 0.1, most: float = 10.0) -> None:
        self._share, self._most, self._tokens = share, most, most

    def earn(self) -> None:
        self._tokens = min(self._most, self._tokens + self._share)

    def spend(self) -> bool:
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
