"""The cache worker's bus process: writes the change feed from what the services announce, and leads the warm-up."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.clients.warmup import FillClient
from cloudphone_shared.database import Changes, Database
from cloudphone_shared.events.envelope import HEARTBEAT, Envelope, Heartbeat
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.settings import Auth, BusSettings, CacheWorkerSettings, Network, Redis, WarmupSettings, load

from ..feed import Appender, Beat, Change, Item
from ..redis import parse
from .leader import Leader
from .main import warmup_database
from .warmup import Filler

log: structlog.stdlib.BoundLogger = structlog.get_logger()

NAME = "cache-worker"
QUEUE = "cache.feed"
_FILL_SECONDS = 30.0
_PAGE = 1000


class Owners:
    """The services, asked for the changes that the bus did not bring."""

    def __init__(self, clients: dict[str, ServiceClient]) -> None:
        self._clients = clients

    async def changes(self, service: str, *, after: int | None = None, since_ms: int | None = None) -> Sequence[Change]:
        """At most one page; the feed asks again for what follows."""
        params = {"after": after, "since_ms": since_ms, "limit": _PAGE}
        page = await self._clients[service].get("/internal/changes", Changes, params=params)
        return [Change(seq=change.seq, entities=change.entities) for change in page.changes]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


async def run(
    *, bus: Bus | None = None, database: Database | None = None, fillers: Sequence[Filler] | None = None
) -> None:
    """Until cancelled. What is not given is made from the settings."""
    network, auth, warmup, names = load(Network), load(Auth), load(WarmupSettings), load(CacheWorkerSettings)
    identity = ServiceIdentity(NAME, auth.secret_of(NAME), network.url_of("user"))

    def ask(service: str, seconds: float = 5.0) -> ServiceClient:
        return ServiceClient(
            service,
            network.url_of(service),
            bearer=identity.token,
            on_unauthorized=identity.forget,
            timeout=seconds,
        )

    owners = Owners({service: ask(service) for service in names.feed_services})
    bffs = [ask(name, _FILL_SECONDS) for name in names.warmed_bffs]
    appender = Appender(parse(load(Redis).redis_url), owners.changes)
    bus = bus or connect(load(BusSettings).bus_url)
    bus.subscribe_batches(QUEUE, ["#"], Writer(appender, names.feed_services).write)
    own = database or warmup_database()
    leader = Leader(
        own,
        fillers if fillers is not None else [FillClient(bff) for bff in bffs],
        cron=warmup.warmup_schedule,
        users=warmup.warmup_users,
        concurrency=warmup.warmup_concurrency,
    )
    try:
        await bus.start()
        await leader.run()
    finally:
        await bus.stop()
        await appender.close()
        await owners.close()
        for bff in bffs:
            await bff.close()
        await identity.close()
        if database is None:
            await own.close()


class Writer:
    """Takes envelopes in the order of the bus and appends each service's to its stream. The effect precedes the ack."""

    def __init__(self, appender: Appender, services: Iterable[str]) -> None:
        self._appender = appender
        self._services = frozenset(services)
        self._open_gaps: set[str] = set()

    async def write(self, envelopes: list[Envelope]) -> None:
        streams: dict[str, list[Item]] = {}
        for envelope in envelopes:
            if envelope.source in self._services and (item := _item(envelope)) is not None:
                streams.setdefault(envelope.source, []).append(item)
        await asyncio.gather(*(self._append(service, items) for service, items in streams.items()))

    async def _append(self, service: str, items: list[Item]) -> None:
        if await self._appender.append(service, items):
            self._open_gaps.discard(service)
        elif service not in self._open_gaps:
            # The owner keeps what is missing for 24 hours, and its next heartbeat shows the gap again.
            self._open_gaps.add(service)
            log.warning("feed_gap_left_open", service=service, first=items[0].seq, last=items[-1].seq)


def _item(envelope: Envelope) -> Item | None:
    if envelope.seq is None:
        return None
    if envelope.type == f"{envelope.source}.{HEARTBEAT}":
        return Beat(seq=envelope.seq, t_ms=msgspec.json.decode(envelope.data, type=Heartbeat).t)
    return Change(seq=envelope.seq, entities=envelope.entities)
