"""A run: makes a scene in a laboratory, writes, reads, makes faults, and judges."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from cloudphone_deploy.errors import CommandError

from .connection import Line
from .oracle import Oracle
from .probes import Bff, Probes, Seen
from .result import Result, Second, allowed_with, classes_of
from .scene import Account, Scene, Stage
from .verdict import Incident, Verdict
from .writers import Numbers, Writers

SERVICES = ("user", "device", "billing")
READS_PER_SECOND = 1_500.0
JUDGE_SECONDS = 0.1
LAST_SECONDS = 20.0
"""How long the end of a run waits for the oracle to know everything."""


class Laboratory(Protocol):
    """What a run needs of a platform: base URLs, databases, and one who administers all tenants."""

    @property
    def bff_admins(self) -> list[str]: ...
    @property
    def bff_users(self) -> list[str]: ...
    def url(self, service: str) -> str: ...
    def database_url(self, service: str) -> str: ...
    def administrator(self) -> tuple[str, str]: ...


class Faults(Protocol):
    """What makes faults. `log` has those that are over."""

    @property
    def log(self) -> Sequence[Any]: ...
    @property
    def current(self) -> str | None: ...
    def run(self, until: float) -> Coroutine[Any, Any, None]: ...


class Run:
    """One run in progress, for whoever shows it."""

    def __init__(self, seconds: float, oracle: Oracle, verdict: Verdict) -> None:
        self.seconds = seconds
        self.began = time.time()
        self.cut_short = ""
        """Why it ended before its time, if it did."""
        self.interrupted = False
        self.oracle = oracle
        self.verdict = verdict
        self.probes: Probes | None = None
        self.writers: Writers | None = None
        self.nemesis: Faults | None = None
        self.timeline: list[Second] = []
        self._fault_began: tuple[str, float] | None = None

    @property
    def elapsed(self) -> float:
        return min(self.seconds, time.time() - self.began)

    @property
    def checks(self) -> int:
        return sum(tally.checks for tally in self.verdict.tallies.values())

    def take(self, seen: Seen) -> None:
        self.verdict.take(seen)

    def cut(self, reason: str) -> None:
        """It ends now, and what was seen until now is its result."""
        self.seconds, self.cut_short = self.elapsed, f"{reason} after {self.elapsed:.0f} of {self.seconds:g} s"

    async def judge(self) -> None:
        """Until cancelled."""
        while True:
            self.note_faults()
            self.verdict.judge(self.oracle.horizon)
            self._note_second()
            await asyncio.sleep(JUDGE_SECONDS)

    def note_faults(self) -> None:
        """The incidents that are over, and the one that goes on."""
        nemesis = self.nemesis
        if nemesis is None:
            return
        over = [
            Incident(name=each.name, target=str(each.target), began=each.began, ended=each.ended)
            for each in nemesis.log
        ]
        current = nemesis.current
        if current is None:
            self._fault_began = None
        elif self._fault_began is None or self._fault_began[0] != current:
            # It may have begun since the last look.
            self._fault_began = current, time.time() - 2 * JUDGE_SECONDS
        if self._fault_began is not None:
            name, began = self._fault_began
            over.append(Incident(name=name, target="", began=began, ended=time.time()))
        self.verdict.incidents = over

    def _note_second(self) -> None:
        assert self.probes is not None
        counts = self.probes.counts
        now = Second(
            at=int(time.time()),
            answers=counts.answers,
            hits=counts.sources["hit in the process"] + counts.sources["hit in Redis"],
            misses=counts.sources["composed"],
            degraded=counts.sources["degraded"] + counts.sources["labelled not fresh"],
            lost=counts.lost,
        )
        if self.timeline and self.timeline[-1].at == now.at:
            self.timeline[-1] = now
        else:
            self.timeline.append(now)

    def rates(self) -> list[Second]:
        """The time line per second, where its counters were sums."""
        stale = self.verdict.stale_by_second
        zero = Second(at=0)
        return [
            Second(
                at=after.at,
                answers=after.answers - before.answers,
                hits=after.hits - before.hits,
                misses=after.misses - before.misses,
                degraded=after.degraded - before.degraded,
                stale=stale.get(after.at, 0),
                lost=after.lost - before.lost,
            )
            for before, after in zip([zero, *self.timeline], self.timeline, strict=False)
        ]


async def check(
    laboratory: Laboratory,
    *,
    seconds: float,
    faults: Faults | None = None,
    seed: int = 1,
    rate: float = 50.0,
    readers: int = 12,
    pace: float = READS_PER_SECOND,
    progress: Callable[[Run], None] | None = None,
    enough: asyncio.Event | None = None,
) -> Result:
    """Checks for `seconds`, or until it is `enough`, while `faults` are made. `rate` of changes and `pace` of reads per
    second; 0 is no limit.

    `progress` is called a few times a second. Raises CommandError when the platform refuses to be prepared; where it
    does not recover from a fault, the result is what was seen until then.
    """
    oracle = Oracle({service: laboratory.database_url(service) for service in SERVICES})
    verdict = Verdict(oracle, allowed=allowed_with(faults is not None))
    async with oracle:
        scene = await Stage(laboratory.bff_admins[0], laboratory.bff_users[0], laboratory.administrator()).make()
        await oracle.reaches(time.time(), within=LAST_SECONDS)
        run = Run(seconds, oracle, verdict)
        run.nemesis = faults
        numbers, bffs = Numbers(), _bffs(laboratory)
        run.writers = Writers(scene, oracle, numbers, laboratory.url, rate=rate, seed=seed)
        run.probes = Probes(scene, oracle, numbers, bffs, run.take, readers=readers, pace=pace, seed=seed)
        await _carry_out(run, scene, laboratory, progress, enough or asyncio.Event())
        await oracle.reaches(time.time(), within=LAST_SECONDS)
        run.note_faults()
        verdict.judge(oracle.horizon)
    return _result(run, bffs, seed=seed, rate=rate, readers=readers)


async def _carry_out(
    run: Run, scene: Scene, laboratory: Laboratory, progress: Callable[[Run], None] | None, enough: asyncio.Event
) -> None:
    assert run.writers is not None and run.probes is not None
    ends = run.began + run.seconds
    work: list[Coroutine[Any, Any, None]] = [
        run.writers.run(),
        run.probes.run(),
        run.judge(),
        _renew(scene, laboratory.bff_admins, laboratory.bff_users),
    ]
    if progress is not None:
        work.append(_show(run, progress))
    tasks = [asyncio.create_task(each) for each in work]
    faults = [asyncio.create_task(run.nemesis.run(ends))] if run.nemesis is not None else []
    cut = asyncio.create_task(_wait(enough))
    try:
        await _first([*tasks, *faults, cut], max(0.0, ends - time.time()))
        if faults and not cut.done():
            # It undoes the fault in hand first.
            await _first([*faults, cut], None)
        if cut.done():
            run.cut("interrupted")
            run.interrupted = True
    except CommandError as error:
        run.cut(f"{error} The run ended")
    finally:
        everything = [*tasks, *faults, cut]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _first(tasks: Sequence[asyncio.Task[None]], seconds: float | None) -> None:
    """Returns when one of them has ended, or after so long. Raises what it ended with."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _renew(scene: Scene, bff_admins: Sequence[str], bff_users: Sequence[str]) -> None:
    """Signs everybody in again, well before their tokens expire."""
    accounts: list[tuple[Account, str]] = [(scene.administrator, bff_admins[0])]
    accounts += [(customer, bff_users[0]) for customer in scene.customers]
    while True:
        await asyncio.sleep(min(account.expires_in for account, _ in accounts) / 3)
        for account, base in accounts:
            line = Line(base)
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await account.sign_in(line)
            line.close()


async def _show(run: Run, progress: Callable[[Run], None]) -> None:
    while True:
        progress(run)
        await asyncio.sleep(0.25)


def _bffs(laboratory: Laboratory) -> list[Bff]:
    """Alternating, so that few readers reach both kinds."""
    admins = [Bff(_numbered("bff-admin", place), url, True) for place, url in enumerate(laboratory.bff_admins, 1)]
    users = [Bff(_numbered("bff-user", place), url, False) for place, url in enumerate(laboratory.bff_users, 1)]
    return [bff for pair in zip(admins, users, strict=True) for bff in pair]


def _numbered(bff: str, place: int) -> str:
    return bff if place == 1 else f"{bff}-{place}"


def _result(run: Run, bffs: Sequence[Bff], *, seed: int, rate: float, readers: int) -> Result:
    assert run.probes is not None and run.writers is not None
    counts, verdict = run.probes.counts, run.verdict
    return Result(
        began=run.began,
        seconds=round(run.seconds, 1),
        cut_short=run.cut_short,
        interrupted=run.interrupted,
        seed=seed,
        rate=rate,
        readers=readers,
        processes=[bff.name for bff in bffs],
        faults=sorted({incident.name for incident in verdict.incidents}),
        allowed=verdict.allowed,
        exact=run.oracle.exact,
        writes=run.oracle.writes,
        writes_unanswered=run.writers.unanswered,
        answers=counts.answers,
        checks=run.checks,
        not_modified=counts.not_modified,
        lost=counts.lost,
        sources=dict(counts.sources.most_common()),
        statuses=dict(counts.statuses),
        session_reads=verdict.session_reads,
        unknown=verdict.unknown,
        unjudged=verdict.waiting,
        within_commit=verdict.within_commit,
        false_labels=verdict.false_labels,
        stale_as_fresh=verdict.stale_as_fresh,
        missed_writes=verdict.missed_writes,
        went_back=verdict.went_back,
        foreign=verdict.foreign,
        classes=classes_of(verdict.tallies),
        incidents=list(verdict.incidents),
        violations=verdict.violations,
        timeline=run.rates(),
    )
