"""The checker's own run, with faults, on a whole platform."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cloudphone_deploy.consistency import probes, run, scene, writers
from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.nemesis import Nemesis
from cloudphone_deploy.consistency.run import Run, check
from cloudphone_deploy.consistency.scene import Scene, Stage
from cloudphone_deploy.errors import CommandError

pytestmark = pytest.mark.anyio

FAULTS = ["kill-bff", "flush-redis", "freeze-relays", "kill-feed-writer", "cut-feeds", "failing-service"]


async def test_under_faults_nothing_passes_for_fresher_than_it_is(laboratory: Laboratory) -> None:
    nemesis = Nemesis(laboratory, 11, FAULTS)
    looks: list[int] = []

    def progress(run: Run) -> None:
        looks.append(run.checks)

    result = await check(laboratory, seconds=60, faults=nemesis, seed=11, rate=20, progress=progress)

    assert result.failures == []
    assert result.incidents and len(looks) > 10
    assert result.tally(faults=True).checks > 100
    assert result.checks > 500 and result.writes > 100 and result.session_reads > 20
    assert result.unjudged == result.unknown == 0
    assert result.exact
    for source in ("hit in the process", "hit in Redis", "composed", "list"):
        assert result.sources[source] > 0, f"nothing was seen of: {source}"


class Unrecoverable:
    """What its fault was made of never comes back."""

    log: Sequence[Any] = ()
    current: str | None = None

    def __init__(self, began: asyncio.Event) -> None:
        self._began = began

    async def run(self, until: float) -> None:
        await self._began.wait()
        raise CommandError("After kill-bff of bff-user: Not healthy.")


@pytest.fixture(scope="module")
async def stage(laboratory: Laboratory) -> Scene:
    """One customer, under names that no other test uses."""
    patch = pytest.MonkeyPatch()
    for name, count in (("CUSTOMERS", 1), ("DEVICES_EACH", 2), ("PLANS", 1)):
        patch.setattr(scene, name, count)
    made = Stage(laboratory.bff_admins[0], laboratory.bff_users[0], laboratory.administrator())
    made._numbers = dict.fromkeys("udp", 800)
    try:
        return await made.make()
    finally:
        patch.undo()


@pytest.mark.parametrize("interrupted", [True, False])
async def test_a_run_that_is_cut_short_tells_what_it_has_seen(
    laboratory: Laboratory, stage: Scene, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    class Ready:
        def __init__(self, *_: object) -> None: ...

        async def make(self) -> Scene:
            return stage

    monkeypatch.setattr(run, "Stage", Ready)
    monkeypatch.setattr(writers, "SHARES", {})
    monkeypatch.setattr(probes, "SESSIONS", 0)
    seen = asyncio.Event()

    def progress(run: Run) -> None:
        if run.checks:
            seen.set()

    if interrupted:
        result = await check(laboratory, seconds=600, progress=progress, enough=seen)
    else:
        result = await check(laboratory, seconds=600, progress=progress, faults=Unrecoverable(seen))

    assert result.interrupted is interrupted
    assert ("interrupted after" if interrupted else "Not healthy. The run ended after") in result.cut_short
    assert result.checks > 0 and result.failures == [] and result.seconds < 600
