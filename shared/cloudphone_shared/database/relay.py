"""The relay: numbers what was announced, publishes it in order, and says up to when that is everything.

One relay per service is active, by a session advisory lock on its own connection; the others wait for it and take
over when that connection dies. Numbers are given on the same connection, so whoever lost the lock can give none.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, cast

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Gauge, Histogram

from ..bus.port import BusRefused, BusUnavailable
from ..events.envelope import HEARTBEAT, Envelope, Heartbeat
from ..ids import uuid7
from .engine import CONNECT_SECONDS, Database, asyncpg_url
from .outbox import channel
from .tables import INCARNATION

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ACTIVE = Gauge("cloudphone_relay_active", "1 where this process's relay is the active one", ["service"])
HELD = Gauge("cloudphone_outbox_held", "1 while the broker refuses a row, which holds the line", ["service"])
PUBLISHED = Counter("cloudphone_outbox_published_total", "Changes published", ["service"])
LATENCY = Histogram(
    "cloudphone_outbox_seconds",
    "From the announcement of a change to its publication",
    ["service"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30),
)

BATCH = 200
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
TURN_SECONDS = 30
"""A waiting relay renews its wait this often: a statement that waits for days would hold vacuum back as long."""
STATEMENT_SECONDS = 5.0
PRUNE_SECONDS = 60.0
KEPT_HOURS = 24
INBOX_KEPT_DAYS = 30

_OUTAGES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

_LEAD = "SELECT pg_advisory_lock(hashtextextended('cloudphone relay {schema}', 0))"

# now() is the transaction's start, so before this statement's snapshot: all that was committed before it is numbered
# here, whatever its id. A row with a lower id may well commit after one with a higher id.
_NUMBER = f"""
WITH fresh AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM (SELECT id FROM {{schema}}.outbox WHERE seq IS NULL ORDER BY id LIMIT $1) AS oldest
), state AS MATERIALIZED (
    SELECT greatest(last_seq, incarnation * {INCARNATION}) AS last_seq FROM {{schema}}.service_state
    WHERE EXISTS (SELECT FROM fresh) FOR UPDATE
), numbered AS (
    UPDATE {{schema}}.outbox AS o SET seq = state.last_seq + fresh.place FROM fresh, state WHERE o.id = fresh.id
    RETURNING o.seq, o.event_id, o.type, o.version, o.entities, o.payload, o.headers, o.created_at
), advanced AS (
    UPDATE {{schema}}.service_state AS s SET last_seq = state.last_seq + (SELECT count(*) FROM fresh) FROM state
    RETURNING s.last_seq
), position AS (
    SELECT now() AS as_of, coalesce((SELECT last_seq FROM advanced), s.last_seq) AS last_seq
    FROM {{schema}}.service_state AS s
)
SELECT position.as_of, position.last_seq, numbered.* FROM position LEFT JOIN numbered ON true ORDER BY numbered.seq
"""  # noqa: S608

_NUMBERED_BEFORE = """
SELECT seq, event_id, type, version, entities, payload, headers, created_at FROM {schema}.outbox
WHERE published_at IS NULL AND seq IS NOT NULL ORDER BY seq LIMIT $1
"""
# Lost in a crash it means one more publication under the same numbers, so it need not wait for the disk.
_MARK = """
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true) AS setting)
UPDATE {schema}.outbox SET published_at = clock_timestamp() FROM relaxed
WHERE seq BETWEEN $1 AND $2 AND published_at IS NULL AND relaxed.setting = 'off'
"""
_COUNT_ATTEMPT = (
    "UPDATE {schema}.outbox SET attempts = attempts + 1 WHERE published_at IS NULL AND event_id = $1 RETURNING attempts"
)
_PRUNE = (
    f"""
    DELETE FROM {{schema}}.outbox WHERE id IN (
        SELECT id FROM {{schema}}.outbox WHERE published_at < clock_timestamp() - interval '{KEPT_HOURS} hours'
        ORDER BY published_at LIMIT 5000)
    """,  # noqa: S608
    f"""
    DELETE FROM {{schema}}.inbox WHERE (consumer, event_id) IN (
        SELECT consumer, event_id FROM {{schema}}.inbox
        WHERE processed_at < clock_timestamp() - interval '{INBOX_KEPT_DAYS} days' ORDER BY processed_at LIMIT 5000)
    """,  # noqa: S608
    """
    DELETE FROM {schema}.idempotency_keys WHERE (tenant_id, key) IN (
        SELECT tenant_id, key FROM {schema}.idempotency_keys
        WHERE expires_at < clock_timestamp() ORDER BY expires_at LIMIT 5000)
    """,
)


class Publisher(Protocol):
    """The part of the bus that a relay needs."""

    async def publish(self, envelopes: Sequence[Envelope]) -> None: ...


class Connection(Protocol):
    """What the relay uses of asyncpg's connection, whose own types are partial."""

    async def execute(self, query: str, *args: object, timeout: float) -> str: ...
    async def fetch(self, query: str, *args: object, timeout: float) -> list[Mapping[str, Any]]: ...
    async def fetchval(self, query: str, *args: object, timeout: float) -> Any: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
    def terminate(self) -> None: ...


class _Interrupted(Exception):
    """Something could not be published now; the line is to be taken up again where it stands."""


class Relay:
    """`run()` ends only by cancellation; outages of database and broker are waited out.

    A row that the broker refuses holds the line (nothing may overtake it, no heartbeat is sent), raises the metric
    `cloudphone_outbox_held` and is tried again.
    """

    def __init__(self, database: Database, bus: Publisher, *, service: str, heartbeat_seconds: float = 0.25) -> None:
        self._database = database
        self._bus = bus
        self._service = service
        self._heartbeat_seconds = heartbeat_seconds
        self._wake = asyncio.Event()
        self._failures = 0
        self._pruned_at = 0.0
        self.active = False

    async def run(self) -> None:
        while True:
            try:
                async with self._leading() as connection:
                    await self._relay(connection)
            except _OUTAGES as error:
                log.warning("relay_interrupted", service=self._service, reason=repr(error))
                await self._pause()
            except Exception as error:
                log.error("relay_failed", service=self._service, exc_info=error)
                await self._pause()

    @contextlib.asynccontextmanager
    async def _leading(self) -> AsyncGenerator[Connection]:
        connect = cast(Callable[..., Awaitable[Connection]], asyncpg.connect)  # pyright: ignore[reportUnknownMemberType]
        connection = await connect(
            asyncpg_url(self._database.url),
            timeout=CONNECT_SECONDS,
            server_settings={
                "application_name": f"cloudphone {self._service} relay",
                "lock_timeout": f"{TURN_SECONDS}s",
                # A machine that vanished without a word is found out within 10 s, and its lock is free.
                "tcp_keepalives_idle": "4",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
                "jit": "off",
            },
        )
        try:
            await self._wait_for_lead(connection)
            connection.add_termination_listener(self._rouse)
            await connection.add_listener(channel(self._database.schema), self._rouse)
            self._set_active(True)
            yield connection
        finally:
            self._set_active(False)
            connection.terminate()

    async def _wait_for_lead(self, connection: Connection) -> None:
        while True:
            with contextlib.suppress(asyncpg.LockNotAvailableError):
                await connection.execute(self._sql(_LEAD), timeout=TURN_SECONDS + STATEMENT_SECONDS)
                return

    async def _relay(self, connection: Connection) -> None:
        unsure = True
        while True:
            # A wait that ends in the moment it is cancelled may swallow the cancellation (Python 3.11).
            if (running := asyncio.current_task()) and running.cancelling():
                raise asyncio.CancelledError
            try:
                if unsure:
                    await self._repeat_unmarked(connection)
                    unsure = False
                self._wake.clear()
                full = await self._turn(connection)
                self._failures = 0
            except _Interrupted:
                unsure = True
                await self._pause()
                continue
            if not full:
                await self._prune(connection)
                await self._rest()

    async def _turn(self, connection: Connection) -> bool:
        """Numbers and publishes the next batch; whether there may be more of them at once."""
        rows = await connection.fetch(self._sql(_NUMBER), BATCH, timeout=STATEMENT_SECONDS)
        as_of, position = rows[0]["as_of"], rows[0]["last_seq"]
        changes = [self._envelope(row) for row in rows if row["event_id"] is not None]
        full = len(changes) == BATCH
        await self._publish(connection, changes, [] if full else [self._heartbeat(position, as_of)])
        return full

    async def _repeat_unmarked(self, connection: Connection) -> None:
        """Publishes what was numbered earlier, by us or by who led before, and not marked as published."""
        while rows := await connection.fetch(self._sql(_NUMBERED_BEFORE), BATCH, timeout=STATEMENT_SECONDS):
            await self._publish(connection, [self._envelope(row) for row in rows], [])

    async def _publish(self, connection: Connection, changes: list[Envelope], heartbeat: list[Envelope]) -> None:
        try:
            await self._bus.publish([*changes, *heartbeat])
        except BusUnavailable as error:
            log.warning("relay_waiting_for_broker", service=self._service, reason=repr(error))
            await self._mark(connection, changes[: error.confirmed])
            raise _Interrupted from error
        except BusRefused as error:
            await self._mark(connection, changes[: error.confirmed])
            await self._hold(connection, [*changes, *heartbeat][error.confirmed], error)
            raise _Interrupted from error
        await self._mark(connection, changes)
        HELD.labels(self._service).set(0)

    async def _hold(self, connection: Connection, refused: Envelope, error: BusRefused) -> None:
        attempts = await connection.fetchval(self._sql(_COUNT_ATTEMPT), refused.event_id, timeout=STATEMENT_SECONDS)
        HELD.labels(self._service).set(1)
        log.error(
            "outbox_held",
            service=self._service,
            seq=refused.seq,
            event_id=str(refused.event_id),
            type=refused.type,
            attempts=attempts,
            reason=str(error),
        )

    async def _mark(self, connection: Connection, changes: list[Envelope]) -> None:
        if not changes:
            return
        await connection.execute(self._sql(_MARK), changes[0].seq, changes[-1].seq, timeout=STATEMENT_SECONDS)
        PUBLISHED.labels(self._service).inc(len(changes))
        now = time.time()
        for change in changes:
            LATENCY.labels(self._service).observe(max(0.0, now - change.time.timestamp()))

    async def _prune(self, connection: Connection) -> None:
        if time.monotonic() < self._pruned_at + PRUNE_SECONDS:
            return
        for statement in _PRUNE:
            await connection.execute(self._sql(statement), timeout=STATEMENT_SECONDS)
        self._pruned_at = time.monotonic()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
            async with asyncio.timeout(self._heartbeat_seconds):
                await self._wake.wait()

    async def _pause(self) -> None:
        await asyncio.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)])
        self._failures += 1

    def _rouse(self, *_: object) -> None:
        self._wake.set()

    def _set_active(self, active: bool) -> None:
        if active != self.active:
            log.info("relay_took_over" if active else "relay_stepped_down", service=self._service)
        self.active = active
        ACTIVE.labels(self._service).set(active)

    def _sql(self, statement: str) -> str:
        return statement.replace("{schema}", self._database.schema)

    def _envelope(self, row: Mapping[str, Any]) -> Envelope:
        headers = msgspec.json.decode(row["headers"], type=dict[str, str])
        return Envelope(
            event_id=row["event_id"],
            type=row["type"],
            version=row["version"],
            time=row["created_at"],
            source=self._service,
            seq=row["seq"],
            entities=msgspec.json.decode(row["entities"], type=dict[str, int]),
            data=msgspec.Raw(row["payload"].encode()),
            **headers,
        )

    def _heartbeat(self, position: int, as_of: datetime) -> Envelope:
        return Envelope(
            event_id=uuid7(),
            type=f"{self._service}.{HEARTBEAT}",
            version=1,
            time=as_of,
            source=self._service,
            seq=position,
            data=msgspec.Raw(msgspec.json.encode(Heartbeat(t=int(as_of.timestamp() * 1000)))),
        )
