"""Reads through the BFFs without end: screens and lists, from every process, some of them conditional, some in sessions
that bring the token of their own writes along."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .connection import Line, Reply, request
from .oracle import Oracle
from .scene import Account, Scene, Thing
from .showing import Reader, Showing, moment
from .writers import Numbers, Pace, rename, watch

CONDITIONAL_SHARE = 0.2
"""Of the reads whose ETag is known, those that are sent with If-None-Match."""
LIST_SHARE = 0.04
HOT_SHARE = 0.5
"""Of the reads, those of screens that show what changes most; they are rarely hits."""
CALM_READERS = (1, 2)
"""Of each three readers of a process, those that keep to what seldom changes, so that no miss holds them up."""
SESSION_READS = 12
SESSIONS = 2
SESSION_PAUSE_SECONDS = 0.2
OVERDUE_SECONDS = 15.0


class Bff(NamedTuple):
    """One process of a BFF, by its name among all."""

    name: str
    url: str
    admin: bool


class Target(NamedTuple):
    """What is asked for, as whom, and by their short names all things that have a place there."""

    path: str
    account: Account
    codes: frozenset[str]


class Seen(NamedTuple):
    """An answer, waiting for the verdict. `as_of` 0 where it claims nothing; `floor` what a session must not fall
    behind, and `foreign` what was shown and has no place there, by short names."""

    sent: float
    received: float
    as_of: float
    labelled: bool
    process: str
    path: str
    head: bytes
    showing: Showing
    floor: Mapping[str, int] | None = None
    foreign: frozenset[str] = frozenset()


class Counts:
    """Of answers, by where they came from."""

    def __init__(self) -> None:
        self.answers = 0
        self.sources: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.not_modified = 0
        self.lost = 0


class Probes:
    """`readers` connections, shared out among the processes of both BFFs, in closed loops of at most `pace` reads a
    second together. `take` gets what they saw."""

    def __init__(
        self,
        scene: Scene,
        oracle: Oracle,
        numbers: Numbers,
        bffs: Sequence[Bff],
        take: Callable[[Seen], None],
        *,
        readers: int,
        pace: float,
        seed: int,
    ) -> None:
        self.counts = Counts()
        self._scene = scene
        self._numbers = numbers
        self._oracle = oracle
        self._bffs = bffs
        self._take = take
        self._readers = readers
        self._pace = Pace(pace)
        self._random = random.Random(seed)
        self._reader = Reader(oracle)
        self._lines: list[Line] = []
        self._tags: dict[str, tuple[bytes, Showing]] = {}
        self._choices = {admin: _Choice(scene, admin) for admin in (True, False)}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._readers):
                    turn, place = divmod(number, len(self._bffs))
                    group.create_task(self._read(self._bffs[place], calm=turn % 3 in CALM_READERS))
                for number in range(SESSIONS):
                    group.create_task(self._session(admin=number % 2 == 0))
                group.create_task(watch(self._lines, OVERDUE_SECONDS))
        finally:
            for line in self._lines:
                line.close()

    async def _read(self, bff: Bff, *, calm: bool) -> None:
        line = self._line(bff)
        choice, chance = self._choices[bff.admin], self._random.random
        choose = choice.calm if calm else choice.any
        while True:
            await self._pace.turn()
            target = choose(self._random)
            tag = self._tags.get(target.path) if chance() < CONDITIONAL_SHARE else None
            if tag is None:
                content = request("GET", target.path, target.account.token)
            else:
                content = request("GET", target.path, target.account.token, If_None_Match=tag[0].decode())
            await self._look(bff, line, target.path, content, None if tag is None else tag[1], codes=target.codes)

    async def _look(
        self,
        bff: Bff,
        line: Line,
        path: str,
        content: bytes,
        unchanged: Showing | None = None,
        floor: Mapping[str, int] | None = None,
        codes: frozenset[str] | None = None,
    ) -> tuple[Reply, Showing] | None:
        """None for an answer that shows nothing."""
        try:
            reply = await line.ask(content)
        except (OSError, TimeoutError):
            self.counts.lost += 1
            await asyncio.sleep(0.05)
            return None
        self.counts.answers += 1
        showing = self._shown(path, reply, unchanged)
        if showing is None:
            self.counts.statuses[reply.status] += 1
            if reply.status >= 500:
                await asyncio.sleep(0.02)
            return None
        source = reply.header(b"cache-status")
        labelled = b"degraded" in source or b"not-fresh" in source or (not source and b'"degraded":[' in reply.body)
        self.counts.sources[_SOURCES.get(source) or _spelt(source)] += 1
        claimed = reply.header(b"x-fresh-as-of")
        as_of = moment(claimed) if claimed else 0.0
        foreign = frozenset[str]() if codes is None or showing.codes <= codes else showing.codes - codes
        self._take(
            Seen(reply.sent, reply.received, as_of, labelled, bff.name, path, reply.head, showing, floor, foreign)
        )
        return reply, showing

    def _shown(self, path: str, reply: Reply, unchanged: Showing | None) -> Showing | None:
        if reply.status == 304:
            self.counts.not_modified += 1
            return unchanged
        if reply.status != 200:
            return None
        showing = self._reader.read(reply.body)
        if tag := reply.header(b"etag"):
            self._tags[path] = tag, showing
        return showing

    async def _session(self, *, admin: bool) -> None:
        """A write and reads of it, each through another process, none to show less than those before."""
        bffs = [bff for bff in self._bffs if bff.admin is admin]
        lines = {bff: self._line(bff) for bff in bffs}
        while True:
            await asyncio.sleep(SESSION_PAUSE_SECONDS)
            target, thing, written = self._choices[admin].session(self._random)
            bff = self._random.choice(bffs)
            number = self._numbers.next(thing.code)
            try:
                reply = await lines[bff].ask(rename(written, thing, number, target.account.token))
            except (OSError, TimeoutError):
                continue
            if not 200 <= reply.status < 300:
                continue
            self._oracle.history(thing.code).answered(number, reply.received)
            await self._follow(lines, target, {thing.code: number}, reply.header(b"fresh-after").decode())

    async def _follow(self, lines: Mapping[Bff, Line], target: Target, floor: Mapping[str, int], token: str) -> None:
        for number in range(SESSION_READS):
            await self._pace.turn()
            bff = list(lines)[number % len(lines)]
            content = request("GET", target.path, target.account.token, Fresh_After=token)
            seen = await self._look(bff, lines[bff], target.path, content, floor=floor, codes=target.codes)
            if seen is None:
                continue
            reply, showing = seen
            token = reply.header(b"fresh-after").decode() or token
            if b"degraded" not in (source := reply.header(b"cache-status")) and b"not-fresh" not in source:
                floor = {**floor, **showing.shown()}

    def _line(self, bff: Bff) -> Line:
        line = Line(bff.url)
        self._lines.append(line)
        return line


class _Choice:
    """What is there to read at one BFF: each with its share of hot and cold, single and list."""

    def __init__(self, scene: Scene, admin: bool) -> None:
        self._scene = scene
        self._admin = admin
        self.hot: list[Target] = []
        self.cold: list[Target] = []
        self.lists: list[Target] = []
        if admin:
            self._at_admin(scene)
        else:
            self._at_user(scene)

    def any(self, dice: random.Random) -> Target:
        chance = dice.random()
        if chance < LIST_SHARE:
            return dice.choice(self.lists)
        hot = chance < LIST_SHARE + HOT_SHARE
        return dice.choice(self.hot or self.cold) if hot else self.calm(dice)

    def calm(self, dice: random.Random) -> Target:
        return dice.choice(self.cold or self.hot)

    def session(self, dice: random.Random) -> tuple[Target, Thing, str]:
        """What to read, what to change for it, and where."""
        customer = dice.choice(self._scene.customers)
        thing = dice.choice([*customer.devices, customer.user])
        if self._admin:
            device = dice.choice(customer.devices) if thing.code[0] == "u" else thing
            kind = "users" if thing.code[0] == "u" else "devices"
            target = _target(f"/admin/devices/{device.id}", self._scene.administrator, device, customer.user)
            return target, thing, f"/admin/{kind}/{thing.id}"
        if thing.code[0] == "u":
            return _target("/my/profile", customer, thing), thing, "/my/profile"
        return _target(f"/my/devices/{thing.id}", customer, thing), thing, f"/my/devices/{thing.id}"

    def _screen(self, path: str, account: Account, *shown: Thing, beside: Sequence[Thing] = ()) -> None:
        """`beside` is what may be shown as well and says nothing of how hot the screen is."""
        hot = any(thing.hot for thing in shown)
        (self.hot if hot else self.cold).append(_target(path, account, *shown, *beside))

    def _at_admin(self, scene: Scene) -> None:
        root, plans = scene.administrator, scene.of_kind("p")
        for customer in scene.customers:
            user = customer.user
            self._screen(f"/admin/users/{user.id}", root, user, *customer.devices, beside=plans)
            for device in customer.devices:
                self._screen(f"/admin/devices/{device.id}", root, device, user)
            for order in customer.orders:
                self._screen(f"/admin/orders/{order.id}", root, order.device, order.plan, user)
        for path in ("devices", "orders"):
            self.lists.append(_target(f"/admin/{path}?tenantId={scene.tenant}&limit=50", root, *scene.things))

    def _at_user(self, scene: Scene) -> None:
        plans = scene.of_kind("p")
        for customer in scene.customers:
            self._screen("/my/home", customer, customer.user, *customer.devices, beside=plans)
            self._screen("/my/profile", customer, customer.user)
            for device in customer.devices:
                self._screen(f"/my/devices/{device.id}", customer, device)
            for order in customer.orders:
                self._screen(f"/my/orders/{order.id}", customer, order.device, order.plan)
            theirs = [*customer.devices, *plans]
            self.lists += [_target(f"/my/{path}?limit=50", customer, *theirs) for path in ("devices", "orders")]


def _target(path: str, account: Account, *shown: Thing) -> Target:
    return Target(path, account, frozenset(thing.code for thing in shown))


_SOURCES = {
    b"": "list",
    b"cloudphone; hit; detail=l1": "hit in the process",
    b"cloudphone; hit; detail=l2": "hit in Redis",
    b"cloudphone; fwd=miss; stored": "composed",
}


def _spelt(source: bytes) -> str:
    if b"degraded" in source:
        return "degraded"
    if b"not-fresh" in source:
        return "labelled not fresh"
    return "composed"
