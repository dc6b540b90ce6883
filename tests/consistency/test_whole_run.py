"""The checker's own run, with faults, on a whole platform."""

import pytest

from cloudphone_deploy.consistency.laboratory import Laboratory
from cloudphone_deploy.consistency.nemesis import Nemesis
from cloudphone_deploy.consistency.run import Run, check

pytestmark = pytest.mark.anyio

FAULTS = ["kill-bff", "flush-redis", "freeze-relays", "kill-feed-writer", "cut-feeds", "failing-service"]


async def test_under_faults_nothing_passes_for_fresher_than_it_is(laboratory: Laboratory) -> None:
    nemesis = Nemesis(laboratory, 11, FAULTS)
    looks: list[int] = []

    def progress(run: Run) -> None:
        looks.append(run.checks)

    result = await check(laboratory, seconds=45, faults=nemesis, seed=11, rate=20, progress=progress)

    assert result.failures == []
    assert result.incidents and len(looks) > 10
    assert result.tally(faults=True).checks > 100
    assert result.checks > 500 and result.writes > 100 and result.session_reads > 20
    assert result.unjudged == result.unknown == 0
    assert result.exact
    for source in ("hit in the process", "hit in Redis", "composed", "list"):
        assert result.sources[source] > 0, f"nothing was seen of: {source}"
