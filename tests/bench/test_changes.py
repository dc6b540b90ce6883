"""The benchmark of hits under a feed of changes."""

import pytest

from tests.bench.changes import changes_under_hits
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


async def test_each_run_is_heard_though_its_numbers_begin_anew(valkey: Valkey) -> None:
    for _ in range(2):
        found = await changes_under_hits(valkey.url, changes_per_second=1_000, seconds=0.1, views=8, settle=0.2)
        assert found["hits_per_s_under"] > 0
        assert found["cpu_us_per_change"] > 0
