"""What was committed and when, read from the owners' databases while the checker changes names.

A changed name carries its entity's short name and a number, `checked-d3-17`, so that every answer tells which change it
shows. The request that makes the change carries both in its id, which the owner's outbox keeps as correlation id.
"""

import asyncio
import bisect
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from cloudphone_shared.database import SCHEMAS

POLL_SECONDS = 0.1
KINDS: Mapping[str, str] = {"u": "user", "d": "device", "p": "billing"}
"""The first letter of a short name, and the service that owns such entities."""

_REQUEST = re.compile(r"checked\.([udp])(\d+)\.(\d+)$").match
_untyped: Any = asyncpg


def name_of(code: str, number: int) -> str:
    return f"checked-{code}-{number}"


def request_id_of(code: str, number: int) -> str:
    return f"checked.{code}.{number}"


class Ends(NamedTuple):
    """When something shown was no longer all there is: at its commit, and by when everybody could see that."""

    committed: float
    visible: float


FOREVER = Ends(math.inf, math.inf)


class History:
    """One entity's names in the order in which they were committed."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.numbers: list[int] = []
        self.versions: list[int] = []
        self.committed: list[float] = []
        self.visible: list[float] = []
        self.restored_at = -math.inf
        """When the last restore from a backup was noticed that took names back."""
        self._places: dict[int, int] = {}
        self._answered: dict[int, float] = {}

    def append(self, number: int, version: int, committed: float, seen: float) -> None:
        """`seen`: a moment by which the change could be read for certain."""
        self._places[number] = len(self.numbers)
        self.numbers.append(number)
        self.versions.append(version)
        self.committed.append(committed)
        self.visible.append(max(committed, min(seen, self._answered.pop(number, math.inf))))

    def answered(self, number: int, at: float) -> None:
        """The writer had its answer then, so the change could be read."""
        place = self._places.get(number)
        if place is None:
            self._answered[number] = at
        else:
            self.visible[place] = max(self.committed[place], min(self.visible[place], at))

    def place(self, number: int) -> int | None:
        """Its rank in the order of commits; None for what was never committed, as far as is known."""
        return self._places.get(number)

    def ends(self, number: int) -> Ends | None:
        """Of this name; None as for `place`."""
        place = self._places.get(number)
        if place is None:
            return None
        after = place + 1
        return Ends(self.committed[after], self.visible[after]) if after < len(self.numbers) else FOREVER

    def at(self, moment: float) -> int | None:
        """The number of the name that was committed last before `moment`."""
        place = bisect.bisect_right(self.committed, moment)
        return self.numbers[place - 1] if place else None

    def learn(self, rows: Sequence["Row"], seen: float) -> bool:
        """Rows in the order of their versions, of which some may be known; says whether one was not.

        Known by their numbers: after a restore that nobody announced, versions are given a second time.
        """
        new = [row for row in rows if row.number not in self._places]
        for row in new:
            self.append(row.number, row.version, row.committed, seen)
        return bool(new)

    def restore(self, rows: Sequence["Row"], at: float) -> None:
        """The database may have gone back: `rows` are all that it knows of this entity now."""
        kept = [row for row in rows if row.number in self._places]
        if kept and self.numbers[-1] != kept[-1].number:
            self.append(kept[-1].number, kept[-1].version, at, at)
            self.restored_at = at


class Row(NamedTuple):
    code: str
    number: int
    version: int
    committed: float


class Oracle:
    """Tails the outbox of every service that owns a kind of entity. `databases` by service.

    Where the database keeps commit times (`track_commit_timestamp`), a change's time is exact; elsewhere it is the time
    of its outbox row, which is before the commit by as long as the transaction took: staleness then errs upwards.
    """

    def __init__(self, databases: Mapping[str, str]) -> None:
        self.histories: dict[str, History] = {}
        self.generation = 0
        """Raised with every change heard: what was derived from histories has to be derived again."""
        self.exact = True
        self.writes = 0
        self._tails = [_Tail(self, service, databases[service]) for service in KINDS.values()]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def horizon(self) -> float:
        """What was committed before then is known; in seconds since 1970. Raises what a tail failed with."""
        for task in self._tasks:
            if task.done():
                task.result()
        return min(tail.horizon for tail in self._tails)

    async def __aenter__(self) -> "Oracle":
        for tail in self._tails:
            await tail.prepare()
        self._tasks = [asyncio.create_task(tail.run()) for tail in self._tails]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for tail in self._tails:
            await tail.close()

    def history(self, code: str) -> History:
        found = self.histories.get(code)
        if found is None:
            found = self.histories[code] = History(code)
        return found

    async def reaches(self, moment: float, within: float) -> bool:
        """Waits until the horizon has passed `moment`; says whether it has."""
        ends = time.monotonic() + within
        while self.horizon <= moment:
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(0.05)
        return True


# The outbox row itself is written again when it is numbered and published, so its own xmin soon tells another time.
_PREPARE = """
ALTER TABLE {schema}.outbox ADD COLUMN IF NOT EXISTS checked_xid xid8 DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS checked_xid ON {schema}.outbox (checked_xid)
"""
_ROWS = """
SELECT headers ->> 'correlation_id' AS request, CAST(entities AS text) AS entities,
    extract(epoch FROM {time})::float8 AS committed
FROM {schema}.outbox
WHERE checked_xid >= CAST(CAST($1 AS text) AS xid8) AND headers ->> 'correlation_id' LIKE 'checked.%'
"""
_STATE = """
SELECT incarnation, CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS xmin FROM {schema}.service_state
"""
_OUTAGES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class _Tail:
    def __init__(self, oracle: Oracle, service: str, url: str) -> None:
        self.horizon = 0.0
        self._oracle = oracle
        self._service = service
        self._letter = next(letter for letter, owner in KINDS.items() if owner == service)
        self._schema = SCHEMAS[service]
        self._url = url
        self._from = "0"
        self._incarnation: int | None = None
        self._time = "created_at"
        self._connection: Any = None

    async def prepare(self) -> None:
        await self._connect()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def run(self) -> None:
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                await self._poll()
            except _OUTAGES:
                await self.close()
                self._connection = None
            await asyncio.sleep(POLL_SECONDS)

    async def _connect(self) -> None:
        self._connection = await _untyped.connect(self._url, timeout=5, command_timeout=10)
        await self._connection.execute(self._sql(_PREPARE))
        if await self._connection.fetchval("SHOW track_commit_timestamp") == "on":
            self._time = "pg_xact_commit_timestamp(CAST(checked_xid AS xid))"
        else:
            self._oracle.exact = False

    async def _poll(self) -> None:
        began = time.time()
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            state = await self._connection.fetchrow(self._sql(_STATE))
            if state is None:
                # A restore emptied the table after our snapshot was taken: TRUNCATE shows through.
                return
            raised = self._incarnation is not None and state["incarnation"] != self._incarnation
            rows = await self._rows("0" if raised else self._from)
        self._take(rows, raised)
        self._from, self._incarnation, self.horizon = state["xmin"], state["incarnation"], began

    async def _rows(self, since: str) -> list[Row]:
        found = await self._connection.fetch(self._sql(_ROWS).replace("{time}", self._time), since)
        rows = [row for each in found if (row := self._row(each)) is not None]
        return sorted(rows, key=lambda row: (row.code, row.version))

    def _row(self, found: Mapping[str, Any]) -> Row | None:
        told = _REQUEST(found["request"])
        if told is None or told[1] != self._letter:
            return None
        kind = {"u": "user:", "d": "device:", "p": "plan:"}[self._letter]
        versions = msgspec.json.decode(found["entities"], type=dict[str, int])
        version = next((version for entity, version in versions.items() if entity.startswith(kind)), None)
        return None if version is None else Row(told[1] + told[2], int(told[3]), version, found["committed"])

    def _take(self, rows: list[Row], raised: bool) -> None:
        seen = time.time()
        by_code: dict[str, list[Row]] = {}
        for row in rows:
            by_code.setdefault(row.code, []).append(row)
        for code, mine in by_code.items():
            history = self._oracle.history(code)
            if raised:
                history.restore(mine, seen)
            before = len(history.numbers)
            if history.learn(mine, seen) or raised:
                self._oracle.generation += 1
            self._oracle.writes += len(history.numbers) - before

    def _sql(self, statement: str) -> str:
        return statement.replace("{schema}", self._schema)
