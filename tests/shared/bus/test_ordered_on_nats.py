"""What ordered reading on NATS rests on beside the broker."""

import asyncio
import contextlib

import pytest

from cloudphone_shared.bus.nats_ordered import _end

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_gets_lost_on_its_way_is_repeated() -> None:
    """Or the keeper of a lease would keep it for ever, and nobody read."""

    async def losing_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(losing_one())
    await asyncio.sleep(0)
    await asyncio.wait_for(_end(task), 30)
    assert task.cancelled()
