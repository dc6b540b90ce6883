"""Ways to fail, and how often."""

from typing import Literal

import msgspec

How = Literal["slow", "refuse", "fail-before", "fail-after", "cut-after", "hang-after"]
Webhooks = Literal["send", "hold", "lose", "twice", "reversed"]

HANG_SECONDS = 60.0


class Fault(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`on` one operation, such as `intent.capture`, or `*`; `times` more. `…-after`: done, and the answer lost."""

    on: str
    how: How
    times: int = 1
    seconds: float = 1.0


class Faults:
    """`webhooks`: sent as they come, held until they are fetched, lost, each sent twice, or newest first."""

    def __init__(self) -> None:
        self.webhooks: Webhooks = "send"
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self.webhooks = "send"
        self._waiting.clear()

    def due(self, operation: str) -> Fault | None:
        for fault in self._waiting:
            if fault.on in ("*", operation):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None


def parse(text: str) -> Fault:
    """`OPERATION:HOW[:TIMES[:SECONDS]]`. Raises msgspec.ValidationError, ValueError."""
    on, how, *more = text.split(":")
    times, seconds = [*more, *["1", "1"][len(more) :]][:2]
    return msgspec.convert({"on": on, "how": how, "times": int(times), "seconds": float(seconds)}, Fault)
