"""A running deployment, watched by reads alone: is what the views show what their owners announced?

Staleness is counted from when the monitor itself heard of the newer version, so it is told too low by as long as that
took (its `lag`), and never too high, whatever the clocks say.
"""

import asyncio
import itertools
import random
import signal
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from rich.console import Console

from cloudphone_deploy.commands.asking import NAME, settle
from cloudphone_deploy.errors import CommandError
from cloudphone_shared import entities
from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.settings import Clients, Network, load

from .heard import SERVICES, Changed, Heard, begin, listen
from .progress import nines_text
from .showing import moment
from .verdict import ALLOWED_SECONDS_WITH_FAULTS, BOUNDS, Nines, Tally, nines
from .writers import Pace

READS_PER_SECOND = 20.0
SAMPLE = 100
RECENT_SHARE = 0.7
"""Of the reads, those of what changed lately, where anything did."""
COMPARED_SHARE = 0.2
"""Of the reads, those beside which the owner is asked too."""
CLOCKS_SECONDS = 1.0
"""By so much the clocks of the deployment's machines may differ before a label counts as false."""
LINE_SECONDS = 10.0
UNVERSIONED = frozenset({"lastActiveAt", "version"})
"""Fields that change without being announced, or are compared apart."""


class MonitorResult(msgspec.Struct, kw_only=True, rename="camel"):
    """What a monitor saw. A check is one versioned thing in one answer; `fresh` are those of answers that passed for
    fresh, `labelled` of those that said that they may be old. `differing` were of the owner's version and yet of
    another content. `refused` are answers that were no view. `nines` in the order of `bounds`."""

    seconds: float = 0.0
    answers: int = 0
    refused: int = 0
    unanswered: int = 0
    fresh: Tally = msgspec.field(default_factory=Tally)
    labelled: Tally = msgspec.field(default_factory=Tally)
    false_labels: int = 0
    stale_as_fresh: int = 0
    differing: int = 0
    compared: int = 0
    bounds: tuple[float, ...] = BOUNDS
    nines: list[Nines] = []
    examples: list[str] = []

    @property
    def checks(self) -> int:
        return self.fresh.checks + self.labelled.checks

    @property
    def consistent(self) -> bool:
        return not (self.false_labels or self.stale_as_fresh or self.differing)


class Thing(msgspec.Struct, frozen=True):
    """A versioned part of a view, as its owner knows it. `fields` as shown."""

    entity: str
    version: int
    fields: Mapping[str, Any]


class Metrics:
    """For Prometheus, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "cloudphone_consistency"
        self.checks = Counter(f"{prefix}_checks", "Things checked", ["passed_for"], registry=self.registry)
        self.stale = Counter(
            f"{prefix}_stale", "Things older than was announced", ["passed_for", "seconds"], registry=self.registry
        )
        self.false_labels = Counter(
            f"{prefix}_false_labels", "Answers that claimed to be fresher than they were", registry=self.registry
        )
        self.differing = Counter(
            f"{prefix}_differing", "Things of the right version with other content", registry=self.registry
        )
        self.unanswered = Counter(f"{prefix}_unanswered", "Reads without a usable answer", registry=self.registry)
        self.lag = Gauge(
            f"{prefix}_lag_seconds",
            "How late the monitor heard of the last change",
            ["service"],
            registry=self.registry,
        )
        self.age = Gauge(f"{prefix}_proven_age_seconds", "Age of the last X-Fresh-As-Of", registry=self.registry)
        for kind in ("fresh", "old"):
            self.checks.labels(kind)
            for bound in BOUNDS:
                self.stale.labels(kind, f"{bound:g}")

    def serve(self, port: int) -> None:
        """Raises CommandError when the port is taken."""
        try:
            start_http_server(port, addr=load(Network).host, registry=self.registry)
        except OSError as error:
            raise CommandError(f"Port {port}, wanted for metrics, cannot be used: {error.strerror}.") from None


class Monitor:
    """`targets` are URLs of admin BFFs: read as `operations`, whose secret is a setting as for all commands."""

    def __init__(
        self, targets: Sequence[str], data: Path | None = None, *, reads: float | None = None, seed: int | None = None
    ) -> None:
        for target in targets:
            if not target.startswith(("http://", "https://")):
                raise CommandError(f"{target} is no URL: write it as https://admin.example.com.")
        self.result = MonitorResult()
        self.metrics = Metrics()
        self.changed = Changed()
        self._targets = itertools.cycle([target.rstrip("/") for target in targets])
        self._data = data
        self._pace = Pace(READS_PER_SECOND if reads is None else reads)
        self._dice = random.Random(seed)
        self._sample: list[str] = []
        self._began = time.monotonic()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Connected to the owners. Raises CommandError, DomainError, Unavailable."""
        settle(self._data)
        network = load(Network)
        identity = ServiceIdentity(NAME, load(Clients).secret_of(NAME), network.url_of("user"))
        self._owners = {
            name: ServiceClient(name, network.url_of(name), bearer=identity.token, timeout=10.0) for name in SERVICES
        }
        self._identity = identity
        try:
            async with httpx.AsyncClient(timeout=10.0) as self._http:
                await self._find_sample()
                for service, client in self._owners.items():
                    await begin(self.changed, service, client)
                self._began = time.monotonic()
                yield
        finally:
            for client in self._owners.values():
                await client.close()
            await identity.close()

    async def run(self) -> None:
        """Until cancelled, within `opened`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(self.changed, self._owners))
            while True:
                await self._pace.turn()
                await self.look()

    async def look(self) -> None:
        """Reads one view and judges it."""
        entity, target = self._choose(), next(self._targets)
        kind, _, key = entity.partition(":")
        owner = await self._ask_owner(kind, key) if self._dice.random() < COMPARED_SHARE else None
        sent = time.monotonic()
        try:
            answer = await self._http.get(f"{target}/admin/{kind}s/{key}", headers=await self._headers())
        except (httpx.HTTPError, Unavailable):
            self.result.unanswered += 1
            self.metrics.unanswered.inc()
            return
        if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("application/json"):
            self.result.refused += 1
            # What is gone is an answer too.
            if answer.status_code != 404:
                self.metrics.unanswered.inc()
            return
        self.result.answers += 1
        self._judge(answer, sent)
        if owner is not None:
            self._compare(owner, await self._ask_owner(kind, key), answer)

    def finish(self) -> MonitorResult:
        result = self.result
        result.seconds = round(time.monotonic() - self._began, 1)
        result.nines = [nines(stale, result.fresh.checks) for stale in result.fresh.stale]
        return result

    def _judge(self, answer: httpx.Response, sent: float) -> None:
        source = answer.headers.get("cache-status", "")
        labelled = "degraded" in source or "not-fresh" in source
        claimed = answer.headers.get("x-fresh-as-of")
        as_of = moment(claimed.encode()) if claimed else 0.0
        if claimed:
            self.metrics.age.set(max(0.0, time.time() - as_of))
        for service, seconds in self.changed.lag.items():
            self.metrics.lag.labels(service).set(seconds)
        for thing in things_in(answer.json()):
            self._judge_one(thing, answer, sent, as_of, labelled=labelled)

    def _judge_one(self, thing: Thing, answer: httpx.Response, sent: float, as_of: float, *, labelled: bool) -> None:
        result, kind = self.result, "old" if labelled else "fresh"
        newer = self.changed.newer(thing.entity, thing.version)
        staleness = max(0.0, sent - newer.at) if newer is not None else 0.0
        (result.labelled if labelled else result.fresh).add(staleness)
        self.metrics.checks.labels(kind).inc()
        for bound in BOUNDS:
            if staleness >= bound:
                self.metrics.stale.labels(kind, f"{bound:g}").inc()
        if newer is None:
            return
        if as_of > newer.announced + CLOCKS_SECONDS:
            result.false_labels += 1
            self.metrics.false_labels.inc()
            self._example(f"false label: {thing.entity} at {thing.version}, {newer.version} announced before", answer)
        if staleness > ALLOWED_SECONDS_WITH_FAULTS and not labelled:
            result.stale_as_fresh += 1
            self._example(
                f"{thing.entity} at {thing.version} for fresh, {staleness:.1f} s after {newer.version}", answer
            )

    def _compare(self, before: Thing, after: Thing | None, answer: httpx.Response) -> None:
        """Only what stood still while it was looked at says anything."""
        shown = next((thing for thing in things_in(answer.json()) if thing.entity == before.entity), None)
        if after is None or shown is None or not before.version == after.version == shown.version:
            return
        self.result.compared += 1
        wrong = differences(shown.fields, after.fields)
        if wrong:
            self.result.differing += 1
            self.metrics.differing.inc()
            self._example(f"{shown.entity} at {shown.version} differs from its owner's in {', '.join(wrong)}", answer)

    def _example(self, what: str, answer: httpx.Response) -> None:
        if len(self.result.examples) < 20:
            self.result.examples.append(f"{what} ({answer.url}, {answer.headers.get('cache-status', '')})")

    async def _ask_owner(self, kind: str, key: str) -> Thing | None:
        """None when it is not there, or cannot be asked now. Its version counts as heard of."""
        try:
            answer = await self._owners[kind].answer("GET", f"/v1/{kind}s/{key}", dict[str, Any])
        except (DomainError, Unavailable):
            return None
        entity = f"{kind}:{key}"
        version = answer.entities[entity]
        if self.changed.newer(entity, version - 1) is None:
            # When it was announced is not known, so it proves no label false.
            self.changed.note(entity, Heard(version, time.monotonic(), float("inf")))
        return Thing(entity, version, answer.data)

    def _choose(self) -> str:
        recent = [entity for entity in self.changed.recent if entity.partition(":")[0] in ("device", "user")]
        return self._dice.choice(recent if recent and self._dice.random() < RECENT_SHARE else self._sample)

    async def _find_sample(self) -> None:
        target = next(self._targets)
        try:
            answer = await self._http.get(
                f"{target}/admin/devices", params={"limit": SAMPLE}, headers=await self._headers()
            )
        except httpx.HTTPError as error:
            raise CommandError(f"{target} gives no answer ({error or type(error).__name__}): is it running?") from None
        if answer.status_code == 404:
            raise CommandError(f"{target} is no admin BFF: a monitor reads the administrators' views.")
        if answer.status_code != 200:
            raise CommandError(f"{target} refuses {NAME} its devices: {answer.status_code} {answer.text[:200]}")
        found: set[str] = set()
        for card in answer.json()["items"]:
            found.add(entities.device(card["device"]["id"]))
            if owner := card["device"].get("ownerId"):
                found.add(entities.user(owner))
        if not found:
            raise CommandError(f"{target} has no devices, so there is nothing to watch.")
        self._sample = sorted(found)

    async def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {await self._identity.token()}"}


def things_in(view: Mapping[str, Any]) -> Iterator[Thing]:
    """The versioned parts of a device's or a user's screen."""
    for name, part in view.items():
        if not isinstance(part, dict | list):
            continue
        if name == "device":
            yield from _things("device", [part])
        elif name in ("owner", "user"):
            yield from _things("user", [part])
        elif name == "devices":
            yield from _things("device", cast("dict[str, Any]", part)["items"])
        elif name == "orders":
            yield from _things("order", part)


def _things(kind: str, parts: Any) -> Iterator[Thing]:
    for part in cast("list[dict[str, Any]]", parts):
        yield Thing(f"{kind}:{part['id']}", part["version"], part)


def differences(shown: Mapping[str, Any], owners: Mapping[str, Any]) -> list[str]:
    """The plain fields that both have and that differ; what is nested belongs to entities of its own."""
    return [
        name
        for name, value in shown.items()
        if name in owners and name not in UNVERSIONED and not isinstance(value, dict | list) and owners[name] != value
    ]


async def watch(monitor: Monitor, *, seconds: float | None, metrics_port: int | None, json: bool) -> MonitorResult:
    """For so long, or until Ctrl-C or SIGTERM. Raises CommandError when it cannot begin."""
    console = Console(stderr=True, highlight=False, quiet=json)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with monitor.opened():
        if metrics_port is not None:
            monitor.metrics.serve(metrics_port)
        console.print("Watching; Ctrl-C ends it.")
        tasks = [asyncio.create_task(each) for each in (monitor.run(), _tell(monitor, console), _wait(ended))]
        done, rest = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            task.result()
    return monitor.finish()


async def _wait(ended: asyncio.Event) -> None:
    await ended.wait()


async def _tell(monitor: Monitor, console: Console) -> None:
    while True:
        await asyncio.sleep(LINE_SECONDS)
        found = monitor.finish()
        lag = max(monitor.changed.lag.values(), default=0.0)
        console.print(
            f"{found.seconds:.0f} s · answers {found.answers:,} · checks {found.checks:,} · stale beyond 1 s "
            f"{found.fresh.stale[1]:,} · false labels {found.false_labels:,} · last change heard after {lag:.2f} s"
        )


def summarise(found: MonitorResult, console: Console) -> None:
    console.print(f"{found.checks:,} checks in {found.answers:,} answers over {found.seconds:.0f} s.")
    for bound, each in zip(found.bounds, found.nines, strict=True):
        console.print(f"  stale beyond {bound:g} s: {each.stale:,} ({nines_text(each.nines, each.supported)})")
    console.print(f"  false labels: {found.false_labels:,}; compared with owners: {found.compared:,}", end="")
    console.print(f", differing: {found.differing:,}; no usable answer: {found.unanswered + found.refused:,}")
    for example in found.examples:
        console.print(f"  {example}", markup=False)
    if not found.checks:
        console.print("Nothing can be said: not one thing was checked.")
