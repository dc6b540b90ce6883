"""Limits per caller, exact over several processes: one script on Redis' clock, never over.

The script keeps a log of admissions per caller and admits when, for every limit n per w, the n-th newest lies outside
w. It is sent on the connection that also carries the view's GET, in the same write. While Redis is away every process
counts for itself: nobody is refused for that reason.
"""

import hashlib
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise

import hiredis
import msgspec

from .errors import LimitExceeded

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"^(\d+)/(\d*)(s|sec|min|m|h)$")

_SCRIPT = """
local key, now = KEYS[1], redis.call('TIME')
now = now[1] * 1000000 + now[2]
local length, wait = redis.call('LLEN', key), 0
for i = 1, #ARGV, 2 do
  local count, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if length >= count then
    local left = redis.call('LINDEX', key, -count) + window - now
    if left > wait then wait = left end
  end
end
if wait > 0 then return wait end
if redis.call('RPUSH', key, now) > tonumber(ARGV[#ARGV - 1]) then redis.call('LPOP', key) end
redis.call('PEXPIRE', key, math.ceil(ARGV[#ARGV] / 1000))
return 0
"""


SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()


class Rate(msgspec.Struct, frozen=True):
    count: int
    seconds: float


def parse_rates(text: str) -> tuple[Rate, ...]:
    """`10/s,100/10s,500/min` as rates, the longest window last. Raises ValueError with what is wrong."""
    rates: list[Rate] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if not (match := _RATE.match(part)) or int(match[1]) < 1 or (match[2] and int(match[2]) < 1):
            raise ValueError(f"{part!r} is not a rate such as 10/s, 100/10s or 500/min")
        rates.append(Rate(int(match[1]), int(match[2] or 1) * _UNITS[match[3]]))
    if not rates:
        raise ValueError("at least one rate is needed, such as 10/s")
    rates.sort(key=lambda rate: rate.seconds)
    if any(longer.count < shorter.count for shorter, longer in pairwise(rates)):
        raise ValueError(f"{text!r}: a longer window must allow at least what a shorter one does")
    return tuple(rates)


class Subject:
    """One caller under one set of rates: its prepacked command, and its own log for when Redis is away."""

    __slots__ = ("_log", "command", "key", "rates")

    def __init__(self, key: str, rates: tuple[Rate, ...], sha: bytes) -> None:
        arguments: list[bytes] = []
        for rate in rates:
            arguments += [b"%d" % rate.count, b"%d" % round(rate.seconds * 1e6)]
        self.key = f"limit:{{{key}}}"
        self.command: bytes = hiredis.pack_command((b"EVALSHA", sha, b"1", self.key.encode(), *arguments))  # pyright: ignore
        self.rates = rates
        self._log: deque[float] = deque(maxlen=rates[-1].count)

    def wait_here(self, now: float) -> int:
        """Microseconds to wait by this process's own count; 0 admits and counts."""
        log = self._log
        wait = max(
            (log[-rate.count] + rate.seconds - now for rate in self.rates if len(log) >= rate.count), default=0.0
        )
        if wait > 0:
            return max(1, round(wait * 1e6))
        log.append(now)
        return 0


class Limiter:
    """Rates per role over all processes. `sha` is the script's; load it with `script` wherever commands are sent."""

    script = _SCRIPT

    def __init__(
        self,
        rates: str,
        by_role: Mapping[str, str] | None = None,
        *,
        sha: bytes = SCRIPT_SHA,
        prefix: str = "",
        clock: Callable[[], float] = time.monotonic,
        remember: int = 50_000,
    ) -> None:
        self._rates = parse_rates(rates)
        self._by_role = {role: parse_rates(text) for role, text in (by_role or {}).items()}
        self._sha = sha
        self._prefix = prefix
        self._clock = clock
        self._subjects: dict[str, Subject] = {}
        self._remember = remember

    def subject(self, caller_id: str, role: str = "") -> Subject:
        subject = self._subjects.get(caller_id)
        rates = self._by_role.get(role, self._rates)
        if subject is None or subject.rates is not rates:
            if len(self._subjects) >= self._remember:
                self._subjects.clear()
            subject = self._subjects[caller_id] = Subject(self._prefix + caller_id, rates, self._sha)
        return subject

    def wait_here(self, subject: Subject) -> int:
        return subject.wait_here(self._clock())


def refusal(subject: Subject, wait_us: int) -> LimitExceeded:
    """The 429 with `Retry-After` (whole seconds, rounded up) and the RateLimit headers (structured, per window)."""
    seconds = -(-wait_us // 1_000_000)
    policy = ", ".join(
        f'"{rate.count}-per-{rate.seconds:g}s";q={rate.count};w={rate.seconds:g}' for rate in subject.rates
    )
    tightest = subject.rates[0]
    return LimitExceeded(
        f"Try again in {seconds} s",
        retryAfterSeconds=seconds,
        headers={
            "Retry-After": str(seconds),
            "RateLimit-Policy": policy,
            "RateLimit": f'"{tightest.count}-per-{tightest.seconds:g}s";r=0;t={seconds}',
        },
    )
