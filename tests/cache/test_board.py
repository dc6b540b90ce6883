"""The board goes on beside processes of another release, which write otherwise."""

import msgspec
import pytest

from cloudphone_cache.board import LIST, QUESTIONS, Board
from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Library
from tests.cache.test_operators import processes, read

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("question", [{b"q": b'{"id": 7}'}, {b"q": b"?"}, {b"asked": b"{}"}])
async def test_a_question_that_is_not_understood_is_passed_over(
    worked: str, library: Library, question: dict[bytes, bytes]
) -> None:
    library.shelve(1)
    async with processes(library, worked, "admin", "portal") as (admin, portal):
        redis = patient_client(parse(worked), read_timeout=5.0, name="another-release")
        await redis.xadd(QUESTIONS, question)
        await redis.aclose()
        await read(portal)
        gathered = await admin.desk.misses(10)
        assert [who.name for who, misses in gathered.answers if misses] == ["portal"]
        assert gathered.silent == []


@pytest.mark.parametrize("report", ["posted otherwise", {"process": {"id": "x", "name": "n", "host": "h", "pid": 1}}])
async def test_a_report_of_another_shape_hides_nobody_else(
    worked: str, library: Library, report: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who has posted it never answers.
    monkeypatch.setitem(Board.ask.__kwdefaults__, "within", 0.2)
    async with processes(library, worked, "admin") as (admin,):
        redis = patient_client(parse(worked), read_timeout=5.0, name="another-release")
        if isinstance(report, dict):
            report = {**report, "report": {"since": "long ago"}}
        await redis.set(f"{LIST}:x", msgspec.json.encode(report), px=30_000)
        [(_, now)] = await redis.zrange(LIST, 0, 0, withscores=True)
        await redis.zadd(LIST, {"x": now + 30_000})
        await redis.aclose()
        assert [state.process.name for state in await admin.desk.processes()] == ["admin"]
