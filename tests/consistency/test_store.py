"""The laboratory's Redis: each share has one server that leads it, and where there is a replica it takes over."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from cloudphone_cache.redis import REDIS_ERRORS
from cloudphone_deploy import ports
from cloudphone_deploy.consistency import store
from cloudphone_deploy.consistency.parts import Process
from cloudphone_deploy.folder import DataFolder
from tests.conditions import eventually
from tests.servers import Guard

pytestmark = pytest.mark.anyio
SOON = 60.0
"""Seconds, of which the election takes two or three; a starved machine the rest."""


@asynccontextmanager
async def started(kind: store.Kind) -> AsyncIterator[tuple[store.Store, dict[str, Process]]]:
    folder, base = DataFolder(Guard.get().folder / f"store-{kind}"), ports.free_base(120)
    with folder.opened(base):
        made = store.store(kind, folder, folder.load_secrets(), base)
        servers: dict[str, Process] = {}
        try:
            for stage in made.stages(dict(os.environ)):
                parts = {each.name: Process(each, folder.logs / f"{each.name}.log") for each in stage}
                servers |= parts
                await asyncio.gather(*(part.start() for part in parts.values()))
            await made.join()
            yield made, servers
        finally:
            await asyncio.gather(*(part.kill() for part in servers.values()))


async def leads(made: store.Store, share: str) -> str | None:
    try:
        return made.servers[await made.leads(share)]
    except (*REDIS_ERRORS, OSError, TimeoutError):
        return None


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_who_led_a_share_is_followed_by_its_replica_and_comes_back_as_one(kind: store.Kind) -> None:
    async with started(kind) as (made, servers):
        led = {await eventually(partial(leads, made, share), SOON) for share in made.shares}
        assert len(led) == len(made.shares)
        former = servers[str(await eventually(partial(leads, made, made.shares[0]), SOON))]
        await former.kill()
        await eventually(partial(_is_led_by_another, made, former.name), SOON)
        await former.start()
        await eventually(former.ready, SOON)


async def _is_led_by_another(made: store.Store, former: str) -> bool:
    return await leads(made, made.shares[0]) not in (None, former)
