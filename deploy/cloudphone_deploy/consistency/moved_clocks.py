"""What happens to the wall clock of one process: it is set wrong by minutes, or does not stand still at being set."""

import asyncio

from cloudphone_deploy.consistency.laboratory import Laboratory

MINUTES = 300.0
STEP_SECONDS = 1.5
"""Less than a feed may be old, so that it goes on counting as young by a clock that is wrong by this."""
EVERY_SECONDS = 0.3


async def ahead(laboratory: Laboratory, target: str, seconds: float) -> None:
    await _set(laboratory, target, MINUTES, seconds)


async def behind(laboratory: Laboratory, target: str, seconds: float) -> None:
    await _set(laboratory, target, -MINUTES, seconds)


async def restless(laboratory: Laboratory, target: str, seconds: float) -> None:
    """To and fro, a little each time."""
    end = asyncio.get_running_loop().time() + seconds
    try:
        while asyncio.get_running_loop().time() < end:
            for step in (-STEP_SECONDS, 0.0, STEP_SECONDS, 0.0):
                laboratory.set_clock(target, step)
                await asyncio.sleep(EVERY_SECONDS)
    finally:
        laboratory.set_clock(target, 0.0)


async def _set(laboratory: Laboratory, target: str, ahead: float, seconds: float) -> None:
    laboratory.set_clock(target, ahead)
    try:
        await asyncio.sleep(seconds)
    finally:
        laboratory.set_clock(target, 0.0)
