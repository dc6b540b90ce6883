"""One input on many phones at once."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from math import ceil
from uuid import UUID

from cloudphone_shared.contracts.phone import InputEvent, Mirrored, MirroredItem
from cloudphone_shared.errors import DomainError, Unavailable

from ..adb import Adb, PhoneRefused
from .access import Reached


async def mirror(
    adb: Adb, reached: Mapping[UUID, Reached | DomainError], events: Sequence[InputEvent], since: float
) -> Mirrored:
    """`since`: when the call came, by the monotonic clock. What fails on one phone is told of that phone alone."""
    addresses: dict[UUID, str] = {}
    failures: dict[UUID, str] = {}
    for device_id, found in reached.items():
        try:
            if isinstance(found, DomainError):
                raise found
            addresses[device_id] = found.running()
        except (DomainError, Unavailable) as error:
            failures[device_id] = _told(error)
    # All shells are open before the first phone is touched, so that the phones differ by what they do alone.
    await asyncio.gather(*(adb.prepare_input(address) for address in addresses.values()), return_exceptions=True)
    ends = await asyncio.gather(*(_type(adb, address, events) for address in addresses.values()))
    done: dict[UUID, float] = {}
    for device_id, end in zip(addresses, ends, strict=True):
        if isinstance(end, str):
            failures[device_id] = end
        else:
            done[device_id] = round((end - since) * 1000, 3)
    return Mirrored(
        items=[
            MirroredItem(device_id=device_id, done_after_ms=done.get(device_id), error=failures.get(device_id))
            for device_id in reached
        ],
        skew_p95_ms=skew(list(done.values())),
    )


def skew(done: Sequence[float]) -> float | None:
    """Between the first to be done and 95 of 100."""
    if len(done) < 2:
        return None
    ordered = sorted(done)
    return round(ordered[ceil(0.95 * len(ordered)) - 1] - ordered[0], 3)


async def _type(adb: Adb, address: str, events: Sequence[InputEvent]) -> float | str:
    """When it was done, or why not."""
    try:
        await adb.input(address, events)
    except (PhoneRefused, Unavailable) as error:
        return _told(error)
    return time.monotonic()


def _told(error: Exception) -> str:
    """Without an address: where a phone stands is not for everybody."""
    match error:
        case Unavailable():
            return "The phone gives no answer"
        case PhoneRefused(detail=detail) | DomainError(detail=detail) if detail:
            return detail
        case DomainError(title=title):
            return title
        case _:
            return str(error)
