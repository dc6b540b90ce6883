"""Any history of installations over both services' databases: messages that are doubled, swapped, held back and lost
from sight, workers that die anywhere, phones that fail and are wiped."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cloudphone_core.app import installing, reporting
from cloudphone_core.app.models import AppRow, AppVersionRow
from cloudphone_core.app.states import ORDER, STEPS, UNDER_WAY
from cloudphone_core.app.subscribers import INSTALL_STATUS, REPORTS, VOLUME_LOST
from cloudphone_core.device.adb import Adb, InstalledPackage, PhoneRefused, ShellAnswer
from cloudphone_core.device.installing import SETTLE, ApkCache, Installer, works_of
from cloudphone_core.device.installing.requests import APP_INSTALL, Asked, take_request
from cloudphone_core.device.lifecycle.sweeping import sweep
from cloudphone_core.device.models import DeviceRow, OperationRow, TemplateRow
from cloudphone_core.device.operations import claims
from cloudphone_core.device.operations.requesting import ask_to_cancel
from cloudphone_core.device.operations.runner import Pace, Runner
from cloudphone_shared.auth import Caller
from cloudphone_shared.database import Database, announce_all, first_time, migrate
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.errors import DomainError
from cloudphone_shared.events.app import AppInstallCancelled, AppInstallRequested, AppUninstallRequested
from cloudphone_shared.events.device import DeviceStatusChanged
from cloudphone_shared.settings import Devices
from tests.core.owners import Owners
from tests.servers import Postgres

ASKED: dict[str, type[Asked]] = {
    event.type: event for event in (AppInstallRequested, AppInstallCancelled, AppUninstallRequested)
}
CALLER = Caller(
    id="ops",
    tenant_id="",
    role="admin",
    kind="user",
    data_scope="all",
    permissions=frozenset({"apps:manage"}),
    sessions_version=0,
    expires_at=0.0,
    token="",
)
PACKAGE = "org.example.game"
LONG = timedelta(hours=2)


class Died(BaseException):
    """The worker, here."""


class Cut(Exception):
    """Whoever took a message died before the commit."""


class Phone:
    """A phone as adb shows it. `dies_at`: after how many of its own steps and the phone's the worker dies."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.file: str | None = None
        self.fails: str | None = None
        self.dies_at = 0

    async def step(self, name: str = "") -> None:
        self.dies_at -= 1
        if self.dies_at == 0:
            raise Died

    async def installed(self, address: str, package: str) -> InstalledPackage | None:
        return None if self.version is None else InstalledPackage(version_code=self.version)

    async def push(self, address: str, path: Path, remote: str, mode: int, note: Any) -> None:
        await self.step()
        self.file = path.name
        await self.step()

    async def install(self, address: str, remote: str, *, reinstall: bool) -> None:
        await self.step()
        assert self.file is not None
        if self.fails:
            raise PhoneRefused(self.fails, "no")
        self.version = int(self.file.partition(".")[0])
        await self.step()

    async def uninstall(self, address: str, package: str) -> None:
        await self.step()
        self.version = None
        await self.step()

    async def shell(self, address: str, argv: Any) -> ShellAnswer:
        self.file = None
        await self.step()
        return ShellAnswer(code=0, output="")


class Files(ApkCache):
    """Every file is there: its name is its version code."""

    async def path(self, sha256: str, size: int, url: str) -> Path:
        return Path(f"{int(sha256)}.apk")


class Message(msgspec.Struct, frozen=True):
    id: UUID
    type: str
    event: Any
    at: datetime


class Histories(RuleBasedStateMachine):
    loop: ClassVar[asyncio.Runner]
    app: ClassVar[Database]
    device: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.run(self._begin())

    def run(self, work: Any) -> Any:
        return self.loop.run(work)

    async def _begin(self) -> None:
        self.phone, self.now = Phone(), datetime.now(UTC)
        self.messages: list[Message] = []
        self.read = {"app": 0, "device": 0}
        for database in (self.app, self.device):
            rows = await self.rows(database, f"SELECT coalesce(max(id), 0) FROM {database.schema}.outbox")
            self.read[database.schema] = rows[0][0]
        self.target = installing.Target(device=Owners().device(uuid4(), uuid4()), template=None)
        self.versions = await self._store()
        await self._plug_in()
        self.seen: dict[UUID, tuple[str, int, int]] = {}
        files: Any = None
        installer = Installer(Files(Path(), 1, files), start_seconds=0.0, look_seconds=0.01)
        self.runner = Runner(
            self.device,
            cast("Any", None),
            cast("Adb", self.phone),
            works_of(installer),
            SETTLE,
            settings=Devices(deployment_id="test"),
            pace=Pace(backoff=(0.0,)),
            points=self.phone.step,
        )

    async def _store(self) -> list[UUID]:
        app_id, made = uuid4(), []
        async with self.app.writing() as session:
            row = AppRow(
                id=app_id,
                tenant_id=None,
                package_name=f"{PACKAGE}{app_id.hex}",
                name="Game",
                description="",
                category="",
                published=True,
                created_at=self.now,
                updated_at=self.now,
            )
            session.add(row)
            await session.flush()
            for code in (1, 2, 3):
                made.append(uuid4())
                row = AppVersionRow(
                    id=made[-1],
                    app_id=app_id,
                    version_code=code,
                    version_name=str(code),
                    sha256=f"{code:064}",
                    abis=[],
                    min_sdk=1,
                    size=1000,
                    object_key="there",
                    created_at=self.now,
                )
                session.add(row)
        return made

    async def _plug_in(self) -> None:
        device, template = self.target.device, uuid4()
        async with self.device.writing() as session:
            row = TemplateRow(
                id=template,
                name=template.hex,
                android_version="14",
                cpu_cores=1,
                memory_mib=1,
                storage_gib=1,
                width=1,
                height=1,
                dpi=1,
                created_at=self.now,
            )
            session.add(row)
            await session.flush()
            row = DeviceRow(
                id=device.id,
                tenant_id=device.tenant_id,
                name="Phone",
                owner_id=device.owner_id,
                template_id=template,
                provider="simulated",
                desired_state="running",
                state="running",
                tags=[],
                generation=1,
                volume_name=template.hex,
                adb_host="127.0.0.1",
                adb_port=5555,
                created_at=self.now,
                updated_at=self.now,
            )
            session.add(row)

    async def rows(self, database: Database, sql: str, **parameters: object) -> list[Any]:
        async with database.writing() as session:
            result = await session.execute(sa.text(sql), parameters)
            return list(result) if result.returns_rows else []

    async def _relay(self) -> None:
        """What was committed is on its way."""
        for database, types in ((self.app, ASKED), (self.device, {**REPORTS, DeviceStatusChanged.type: None})):
            sql = f"SELECT id, event_id, type, payload::text FROM {database.schema}.outbox WHERE id > :read ORDER BY id"
            for number, event_id, kind, payload in await self.rows(database, sql, read=self.read[database.schema]):
                self.read[database.schema] = number
                if kind in types:
                    wanted = types[kind] or DeviceStatusChanged
                    self.messages.append(Message(event_id, kind, msgspec.json.decode(payload, type=wanted), self.now))

    async def _consume(self, message: Message, cut: bool = False) -> bool:
        """As a worker takes a message; False when it died before the commit."""
        database = self.device if message.type in ASKED else self.app
        consumer = APP_INSTALL if message.type in ASKED else INSTALL_STATUS if message.type in REPORTS else VOLUME_LOST
        try:
            async with database.writing() as session:
                if await first_time(session, consumer, message.id):
                    if message.type in ASKED:
                        await take_request(session, message.event)
                    elif message.type in REPORTS:
                        await reporting.take_report(session, message.event, self.now)
                    else:
                        await reporting.end_all(session, message.event.device_id, message.at)
                if cut:
                    raise Cut
        except Cut:
            return False
        await self._relay()
        return True

    async def _asks(self, work: Any) -> None:
        self.now += timedelta(seconds=1)
        try:
            async with self.app.writing() as session:
                await work(session)
        except DomainError:
            return
        await self._relay()

    @rule(number=st.integers(0, 2))
    def install(self, number: int) -> None:
        version = self.versions[number]
        self.run(self._asks(lambda session: installing.install(session, CALLER, self.target, version, self.now)))

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), what=st.sampled_from(["cancel", "uninstall", "retry"]), heard=st.booleans())
    def ask(self, data: st.DataObject, what: str, heard: bool) -> None:
        """Mostly of the newest; `heard`: the device hears of all that has been asked."""
        one = data.draw(st.just(max(self.seen)) | st.sampled_from(sorted(self.seen)))
        acts: dict[str, Any] = {
            "cancel": lambda session: installing.cancel(session, one, self.now),
            "uninstall": lambda session: installing.uninstall(session, one, self.now),
            "retry": lambda session: installing.retry(session, CALLER, one, self.target, self.now),
        }
        self.run(self._asks(acts[what]))
        for message in [message for message in self.messages if heard and message.type in ASKED]:
            self.messages.remove(message)
            self.run(self._consume(message))

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), count=st.integers(1, 4), twice=st.booleans(), cut=st.booleans())
    def deliver(self, data: st.DataObject, count: int, twice: bool, cut: bool) -> None:
        for message in data.draw(st.permutations(self.messages))[:count]:
            if self.run(self._consume(message, cut)) and not twice:
                self.messages.remove(message)

    @rule(
        dies_at=st.integers(0, 14), lapses=st.booleans(), fails=st.sampled_from([None, None, "INSTALL_FAILED_ABORTED"])
    )
    def work(self, dies_at: int, lapses: bool, fails: str | None) -> None:
        self.phone.fails = fails
        self.run(self._work(dies_at, lapses))

    async def _work(self, dies_at: int = 0, lapses: bool = True) -> bool:
        """One operation, by a worker that may die over it; False when there was none."""
        self.phone.dies_at = dies_at
        if lapses:
            sql = "UPDATE device.operations SET leased_until = now() - interval '1 s' WHERE device_id = :id"
            await self.rows(self.device, sql, id=self.target.device.id)
        sql = "UPDATE device.operations SET not_before = NULL WHERE device_id = :id"
        await self.rows(self.device, sql, id=self.target.device.id)
        operation = await claims.claim(self.device, ["install", "uninstall"], 30.0)
        if operation is not None:
            with contextlib.suppress(Died):
                await self.runner._do(operation)
        await self._relay()
        return operation is not None

    @rule()
    def the_device_is_wiped(self) -> None:
        self.run(self._wiped())

    async def _wiped(self) -> None:
        device = self.target.device
        self.now += timedelta(seconds=1)
        async with self.device.writing() as session:
            row = await session.get_one(DeviceRow, device.id, with_for_update=True)
            unfinished = sa.select(OperationRow).where(
                OperationRow.device_id == device.id, OperationRow.state.in_(("queued", "running"))
            )
            told = [said for each in (await session.scalars(unfinished)).all() for said in ask_to_cancel(each, None)]
            row.generation += 1
            lost = DeviceStatusChanged(
                device_id=device.id,
                tenant_id=device.tenant_id,
                user_id=None,
                old_status="stopped",
                new_status="cleaning",
                reason="",
            )
            await announce_all(session, [*told, Announcement(event=lost)])
        device = msgspec.structs.replace(device, generation=row.generation)
        self.target = msgspec.structs.replace(self.target, device=device)
        self.phone.version = self.phone.file = None
        await self._relay()

    @rule()
    def time_runs_out(self) -> None:
        self.run(self._late())

    async def _late(self) -> None:
        sql = "UPDATE device.operations SET deadline_at = now() - interval '1 s' WHERE device_id = :id"
        await self.rows(self.device, sql, id=self.target.device.id)
        await sweep(self.device, SETTLE)
        self.now += LONG
        await reporting.sweep(self.app, self.now)
        await self._relay()

    @rule()
    def all_arrives_and_is_done(self) -> None:
        self.run(self._quiet())

    async def _quiet(self) -> None:
        while self.messages or await self._work():
            messages, self.messages = self.messages, []
            for message in messages:
                assert await self._consume(message)

    async def _records(self) -> list[Any]:
        sql = "SELECT * FROM app.installations WHERE device_id = :id ORDER BY attempt"
        return await self.rows(self.app, sql, id=self.target.device.id)

    @invariant()
    def each_goes_forward_and_one_is_under_way_and_one_stands(self) -> None:
        rows = self.run(self._records())
        assert sum(row.state in UNDER_WAY for row in rows) <= 1
        assert sum(row.state in ("installed", "uninstalling") for row in rows) <= 1
        assert len({row.attempt for row in rows}) == len(rows)
        for row in rows:
            state, progress, attempt = self.seen.get(row.id, (row.state, 0, row.attempt))
            assert row.attempt == attempt and ORDER[row.state] >= ORDER[state]
            assert state not in ("uninstalled", "failed", "cancelled") or row.state == state
            assert row.progress >= progress or row.state == "uninstalling" != state or row.purpose == "uninstall"
            self.seen[row.id] = (row.state, row.progress, row.attempt)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self._all_comes_to_rest())

    async def _all_comes_to_rest(self) -> None:
        """Every message arrives and a worker lives on: nothing is left to be done, and the books say what is there."""
        self.phone.fails = None
        await self._quiet()
        rows = await self._records()
        assert not [row.state for row in rows if row.state in UNDER_WAY or row.state == "uninstalling"]
        assert await reporting.sweep(self.app, self.now + LONG) == 0
        await self._only_steps_of_the_table(rows)
        stands = [row for row in rows if row.state == "installed"]
        codes = {version: code for code, version in enumerate(self.versions, 1)}
        said = codes[stands[0].app_version_id] if stands else None
        after = [row for row in rows if row.state == "failed" and (not stands or row.attempt >= stands[0].attempt)]
        unknown = {row.error_code for row in after} & {"timed_out", "deadline"}
        assert unknown or self.phone.version == said, (self.phone.version, [(r.state, r.error_code) for r in rows])
        assert unknown or self.phone.file is None

    async def _only_steps_of_the_table(self, rows: list[Any]) -> None:
        for row in rows:
            sql = """SELECT payload ->> 'oldState' AS old, payload ->> 'newState' AS new FROM app.outbox
                     WHERE type = 'app.installation.changed' AND payload ->> 'installationId' = :id ORDER BY id"""
            steps = [step for step in await self.rows(self.app, sql, id=str(row.id)) if step.old != step.new]
            assert [step.new for step in steps[:-1]] == [step.old for step in steps[1:]]
            for step in steps[1:]:
                assert step.new in STEPS[step.old] or (ORDER[step.old] < ORDER[step.new] and STEPS[step.old])
            ends = [step for step in steps if not STEPS[step.new]]
            assert len(ends) == (row.state != "installed")
            assert sum(step.new == "installed" for step in steps) <= 1


def test_every_history_of_installations_keeps_its_promises(postgres: Postgres) -> None:
    urls = {name: postgres.create_database() for name in ("app", "device")}
    with asyncio.Runner() as Histories.loop:
        for name, url in urls.items():
            Histories.loop.run(migrate(url, name))
            setattr(Histories, name, Database(url, schema=name, service=name, pool_size=3))
        # By day always the same few; the night looks for others.
        few = settings.default.max_examples <= 100
        sought = settings(max_examples=4 if few else 300, stateful_step_count=20, deadline=None, derandomize=few)
        run_state_machine_as_test(Histories, settings=sought)  # type: ignore[no-untyped-call]
        for database in (Histories.app, Histories.device):
            Histories.loop.run(database.close())
