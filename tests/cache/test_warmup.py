"""The warm-up: planned by the BFFs, run by one leader, recorded whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cloudphone_cache.platform import runs
from cloudphone_cache.platform.leader import Leader
from cloudphone_cache.platform.main import create_app
from cloudphone_cache.platform.models import Base
from cloudphone_cache.platform.warmup import Progress, warm
from cloudphone_shared.contracts.warmup import WarmupFill, WarmupKey, WarmupPlan, WarmupResult, WarmupRun
from cloudphone_shared.database import Database
from cloudphone_shared.database.migrations import History, differences, migrate
from cloudphone_shared.errors import Invalid, Unavailable
from tests.conditions import eventually
from tests.servers import Postgres
from tests.signing import Signer, client_of

pytestmark = pytest.mark.anyio


class Bff:
    """A BFF that has so many views; those named in `broken` fail, `away` answers nothing, `gate` holds fills back."""

    def __init__(self, name: str, views: int = 0, *, broken: frozenset[str] = frozenset(), away: bool = False) -> None:
        self.name = name
        self._views = views
        self._broken = broken
        self._away = away
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def plan(self, users: int) -> WarmupPlan:
        if self._away:
            raise Unavailable(self.name, "it is stopped")
        return WarmupPlan(keys=[WarmupKey(view="v", params={"id": str(n)}) for n in range(self._views)])

    async def fill(self, keys: WarmupFill) -> list[WarmupResult]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.at_once -= 1
        return [self._one(key.params["id"]) for key in keys.keys]

    def _one(self, key: str) -> WarmupResult:
        first = key not in self.asked
        self.asked.append(key)
        if key in self._broken:
            return WarmupResult(key=key, outcome="failed", reason="device is unavailable")
        return WarmupResult(key=key, outcome="filled" if first else "skipped")


async def _silent(progress: Progress) -> None:
    pass


@pytest.fixture(scope="module")
async def migrated(postgres: Postgres) -> str:
    url = await postgres.database()
    await migrate(url, "cache")
    return url


@pytest.fixture
async def database(postgres: Postgres, migrated: str) -> AsyncIterator[Database]:
    url = await postgres.database(migrated)
    database = Database(url, schema="warmup", service="cache")
    yield database
    await database.close()


async def _finished(database: Database, run: WarmupRun) -> WarmupRun | None:
    async with database.reading() as session:
        now = await runs.find(session, run.id)
    return now if now.state in ("succeeded", "partial", "failed") else None


async def test_the_migrated_schema_is_what_the_models_say(database: Database) -> None:
    assert await differences(database.url, History.of("cache"), Base.metadata) == []


async def test_every_planned_view_of_every_bff_is_asked_for_once() -> None:
    admin, user = Bff("bff-admin", 37), Bff("bff-user", 12)
    progress = await warm([admin, user], users=10, concurrency=3, report=_silent)
    assert (progress.total, progress.filled, progress.failed) == (49, 49, 0)
    assert sorted(admin.asked, key=int) == [str(n) for n in range(37)]


async def test_no_more_calls_are_under_way_than_the_limit_allows() -> None:
    bff = Bff("bff-admin", 1000)
    await warm([bff], users=10, concurrency=3, report=_silent)
    assert bff.most_at_once == 3


async def test_a_view_that_fails_is_counted_with_its_reason_and_the_rest_goes_on() -> None:
    progress = await warm([Bff("bff-admin", 30, broken=frozenset({"7"}))], users=10, concurrency=2, report=_silent)
    assert (progress.filled, progress.failed) == (29, 1)
    assert (progress.failures[0].key, progress.failures[0].reason) == ("7", "device is unavailable")


async def test_a_bff_that_is_away_does_not_keep_the_other_cold() -> None:
    progress = await warm([Bff("bff-admin", away=True), Bff("bff-user", 5)], users=10, concurrency=2, report=_silent)
    assert progress.planned
    assert progress.filled == 5
    assert "it is stopped" in progress.failures[0].reason


async def test_two_triggers_at_once_make_one_run(database: Database) -> None:
    async def press() -> WarmupRun:
        async with database.writing() as session:
            return await runs.trigger(session, "manual")

    pressed = await asyncio.gather(*(press() for _ in range(8)))
    assert len({run.id for run in pressed}) == 1


async def test_of_two_leaders_one_runs_what_is_triggered_and_records_it(database: Database) -> None:
    bff = Bff("bff-admin", 25)
    leaders = [Leader(database, [bff], cron="0 0 1 1 *", users=10, concurrency=2) for _ in range(2)]
    tasks = [asyncio.create_task(leader.run()) for leader in leaders]
    try:
        async with database.writing() as session:
            run = await runs.trigger(session, "manual")
        done = await eventually(lambda: _finished(database, run))
        assert done is not None
        assert (done.state, done.total, done.filled, done.skipped) == ("succeeded", 25, 25, 0)
        assert done.duration_ms is not None
        assert len(bff.asked) == 25
    finally:
        await _ended(tasks)


@pytest.mark.parametrize(
    ("bffs", "state", "failed"),
    [
        ([Bff("bff-admin", 5, broken=frozenset({"3"}))], "partial", 1),
        ([Bff("bff-admin", away=True), Bff("bff-user", 5)], "partial", 0),
        ([Bff("bff-admin", 2, broken=frozenset({"0", "1"}))], "failed", 2),
        ([Bff("bff-admin", away=True)], "failed", 0),
    ],
    ids=["a view failed", "a BFF was away", "every view failed", "nobody could plan"],
)
async def test_a_run_of_which_something_failed_does_not_say_that_it_succeeded(
    database: Database, bffs: list[Bff], state: str, failed: int
) -> None:
    progress = await warm(bffs, users=1, concurrency=2, report=_silent)
    async with database.writing() as session:
        run = await runs.trigger(session, "manual")
        run_id = await runs.take(session)
        assert run_id == run.id
        await runs.finish(session, run_id, progress)
        done = await runs.find(session, run_id)
    assert (done.state, done.failed) == (state, failed)
    assert done.failures


async def test_a_run_whose_leader_died_fails_and_the_next_one_can_start(database: Database) -> None:
    stuck = Bff("bff-admin", 5)
    stuck.gate.clear()
    task = asyncio.create_task(Leader(database, [stuck], cron="0 0 1 1 *", users=1, concurrency=1).run())
    async with database.writing() as session:
        run = await runs.trigger(session, "manual")
    await eventually(lambda: _is(database, run, "running"))
    await _ended([task])
    task = asyncio.create_task(Leader(database, [Bff("bff-admin", 5)], cron="0 0 1 1 *", users=1, concurrency=1).run())
    try:
        dead = await eventually(lambda: _finished(database, run))
        assert dead is not None
        assert dead.state == "failed"
        async with database.writing() as session:
            again = await runs.trigger(session, "manual")
        done = await eventually(lambda: _finished(database, again))
        assert done is not None
        assert done.state == "succeeded"
    finally:
        await _ended([task])


async def test_the_schedule_triggers_and_a_pause_stops_it(database: Database) -> None:
    async with database.writing() as session:
        await runs.pause(session, paused=True)
        await runs.reschedule(session, "*/2 * * * *")
    task = asyncio.create_task(Leader(database, [], cron="0 0 1 1 *", users=1, concurrency=1).run())

    async def status() -> tuple[str, bool, bool]:
        async with database.reading() as session:
            now = await runs.status(session, "0 0 1 1 *")
        return now.schedule, now.leader is not None, now.next_run_at is not None

    try:
        await eventually(lambda: _equals(status, ("*/2 * * * *", True, False)))
        async with database.writing() as session:
            await runs.pause(session, paused=False)
        await eventually(lambda: _equals(status, ("*/2 * * * *", True, True)))
    finally:
        await _ended([task])


@pytest.mark.parametrize("cron", ["* * * *", "99 * * * *", "every five", "* * * * * *"])
async def test_a_schedule_that_is_no_cron_expression_is_refused(database: Database, cron: str) -> None:
    async with database.writing() as session:
        with pytest.raises(Invalid, match="cron expression"):
            await runs.reschedule(session, cron)


async def test_over_http_a_reader_may_look_and_only_who_manages_may_trigger(database: Database) -> None:
    signer = Signer()
    app = create_app(database=database, verifier=signer.verifier(), cursor_key="k" * 32)
    async with client_of(app) as client:
        support, admin = signer.headers(role="support"), signer.headers(role="admin")
        assert (await client.post("/v1/warmups/runs", headers=support)).status_code == 403
        accepted = await client.post("/v1/warmups/runs", headers=admin)
        assert accepted.status_code == 202
        run_id = accepted.json()["data"]["id"]
        assert (await client.get(f"/v1/warmups/runs/{run_id}", headers=support)).json()["data"]["state"] == "queued"
        listed = (await client.get("/v1/warmups/runs", headers=support)).json()["data"]
        assert [run["id"] for run in listed["items"]] == [run_id]
        assert (await client.get("/v1/warmups", headers=support)).json()["data"]["current"]["id"] == run_id
        refused = await client.put("/v1/warmups/schedule", headers=admin, json={"cron": "every now and then"})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["field"] == "cron"
        too_short = await client.put("/v1/warmups/schedule", headers=admin, json={"cron": "* *"})
        assert too_short.status_code == 400


async def test_what_failed_is_told_to_who_sees_every_tenant(database: Database) -> None:
    progress = await warm([Bff("bff-admin", 2, broken=frozenset({"0"}))], users=1, concurrency=1, report=_silent)
    async with database.writing() as session:
        run = await runs.trigger(session, "manual")
        await runs.take(session)
        await runs.finish(session, run.id, progress)
    signer = Signer()
    async with client_of(create_app(database=database, verifier=signer.verifier(), cursor_key="k" * 32)) as client:
        for scope, expected in (("all", ["0"]), ("tenant", [])):
            by = signer.headers(role="admin", scope=scope)
            one = (await client.get(f"/v1/warmups/runs/{run.id}", headers=by)).json()["data"]
            [listed] = (await client.get("/v1/warmups/runs", headers=by)).json()["data"]["items"]
            last = (await client.get("/v1/warmups", headers=by)).json()["data"]["last"]
            for told in (one, listed, last):
                assert [failure["key"] for failure in told["failures"]] == expected
                assert told["failed"] == 1


async def _is(database: Database, run: WarmupRun, state: str) -> bool:
    async with database.reading() as session:
        return (await runs.find(session, run.id)).state == state


async def _equals(ask: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await ask() == expected


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
