"""Every interleaving of the feed's protocol at small scope, breadth first, so that a trail to a violation is shortest.

One owner changes the entities `a` and `c` in a fixed order; the view shows `a`. Two readers hear the feed, fill and
serve; they are alike, so that of two worlds which differ in who is who only one is looked into. Numbers and versions
are incarnation * 10 + a counter; `uid` tells apart what two timelines number alike.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

EPOCH = 10
YOUNG = 2
"""Steps of the clock that a feed may be behind."""


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol. A negative control leaves one out."""

    position: bool = True
    """Entries carry where the filler stood when it began."""
    jumps: bool = True
    """A hole or a restart moves `since` up."""
    beat_begins_at_itself: bool = True
    """A window that begins with a heartbeat begins at its number, not one before."""
    beats_in_order: bool = True
    """A heartbeat is appended only behind the change it names, and fits only there."""
    age: str = "told"
    """`told` by the heartbeat; `arrival` of it; `none`."""
    answer_seq: bool = True
    """A replica's answer lowers the entry's position."""
    incarnation: bool = True
    """A restore raises it."""
    joined_checked: bool = True
    """Who joined a fill with a newer token checks the result again."""
    own_check: bool = True
    """A fill asks again when something newer was announced than it read."""
    ordered: bool = True
    """The worker appends in order."""
    delete: bool = False
    """The usual design instead: a change deletes the entry, and what is there is served."""


class Scope(NamedTuple):
    """How much may happen."""

    touches: str = "aca"
    fills: int = 2
    beats: int = 0
    trims: int = 0
    flushes: int = 0
    restarts: int = 0
    rollbacks: int = 0
    restores: int = 0
    ticks: int = 0
    tokens: int = 0
    lag: int = 0


class Change(NamedTuple):
    seq: int
    entity: str
    version: int
    at: int
    uid: int


class Item(NamedTuple):
    """In the feed: a change, or a heartbeat with the time it tells (`change` is None)."""

    seq: int
    sub: int
    change: Change | None


class Feed(NamedTuple):
    last: int = 0
    sub: int = 0
    items: tuple[Item, ...] = ()


class Reader(NamedTuple):
    position: int = 0
    since: int = 0
    latest: int = 0
    as_of: int = -9
    read: tuple[int, int] = (0, 0)
    wants: int = 0
    """The version in the token of a caller who has joined the fill in progress; 0 for none."""


class Entry(NamedTuple):
    version: int
    uid: int
    position: int


class Fill(NamedTuple):
    position: int
    found: Entry | None = None
    checked: bool = False


class World(NamedTuple):
    now: int
    timeline: tuple[Change, ...]
    base: int
    made: int
    feed: Feed
    bus: tuple[tuple[int, int], ...]
    readers: tuple[Reader, Reader]
    entry: Entry | None
    older: Entry | None
    filling: tuple[Fill | None, Fill | None]
    left: Scope


class Result(NamedTuple):
    states: int
    violation: str | None
    trail: tuple[str, ...]


Step = tuple[str, World]


def put(pair: tuple, index: int, value: object) -> tuple:
    return (value, pair[1]) if index == 0 else (pair[0], value)


def in_order(world: World) -> World:
    """The readers, each with its fill, so that the lesser one comes first."""
    (first, second), (filling, other) = world.readers, world.filling
    if first < second or (first == second and _rank(filling) <= _rank(other)):
        return world
    return world._replace(readers=(second, first), filling=(other, filling))


def _rank(fill: Fill | None) -> tuple:
    return (fill.position, fill.found or (), fill.checked) if fill else ()


def shown(timeline: tuple[Change, ...], upto: int) -> tuple[int, int]:
    """Version and uid of `a` after the changes numbered up to `upto`."""
    for change in reversed(timeline):
        if change.seq <= upto and change.entity == "a":
            return change.version, change.uid
    return 0, 0


class Model:
    def __init__(self, scope: Scope, rules: Rules, *, limit: int = 400_000) -> None:
        self.scope = scope
        self.rules = rules
        self.limit = limit
        self._spent: dict[tuple[Scope, str], Scope] = {}

    def explore(self) -> Result:
        start = World(
            0,
            (),
            EPOCH,
            0,
            Feed(EPOCH),
            (),
            (Reader(EPOCH, EPOCH), Reader(EPOCH, EPOCH)),
            None,
            None,
            (None, None),
            self.scope,
        )
        came_from: dict[World, tuple[World, str] | None] = {start: None}
        todo = deque([start])
        while todo:
            world = todo.popleft()
            for label, following in self.steps(world):
                following = in_order(following)
                if following in came_from:
                    continue
                came_from[following] = (world, label)
                if wrong := self.wrong(following, label):
                    return Result(len(came_from), wrong, self._trail(came_from, following))
                todo.append(following)
            assert len(came_from) < self.limit, "the scope is too large to be exhausted"
        return Result(len(came_from), None, ())

    def _trail(self, came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
        trail: list[str] = []
        while (step := came_from[world]) is not None:
            world, label = step
            trail.append(label)
        return tuple(reversed(trail))

    def spend(self, left: Scope, what: str) -> Scope:
        key = (left, what)
        if key not in self._spent:
            self._spent[key] = left._replace(**{what: getattr(left, what) - 1})
        return self._spent[key]

    # What must never be

    def wrong(self, world: World, label: str) -> str | None:
        if "older than its token" in label:
            return label
        entry = world.entry
        if entry is None:
            return None
        for number, reader in enumerate(world.readers):
            if not self.serves(world, reader, entry):
                continue
            known = min(reader.position, world.timeline[-1].seq if world.timeline else world.base)
            version, uid = shown(world.timeline, known)
            if version > entry.version or (version == entry.version and uid != entry.uid):
                return f"reader {number} has passed a@{version} and serves a@{entry.version}"
            if (
                entry.uid
                and reader.position >= world.base
                and self._lost(world, entry)
                and reader.position > entry.position
            ):
                return f"reader {number} has heard the restored timeline and serves what it undid"
            newer = [c.at for c in world.timeline if c.entity == "a" and c.version > entry.version]
            if newer and world.now - min(newer) >= YOUNG and not self.rules.delete:
                return f"reader {number} serves a@{entry.version} long after it changed"
        return None

    def _lost(self, world: World, entry: Entry) -> bool:
        return all(change.uid != entry.uid for change in world.timeline)

    def serves(self, world: World, reader: Reader, entry: Entry) -> bool:
        if self.rules.delete:
            return True
        young = self.rules.age == "none" or not self.scope.ticks or world.now - reader.as_of < YOUNG
        window = not self.rules.position or reader.since <= entry.position
        return young and window and reader.latest <= entry.version

    # What may happen next

    def steps(self, world: World) -> Iterator[Step]:
        yield from self._owner(world)
        yield from self._worker(world)
        yield from self._redis(world)
        for number in (0, 1):
            yield from self._reader(world, number)
            yield from self._filler(world, number)

    def _owner(self, world: World) -> Iterator[Step]:
        if world.made < len(self.scope.touches):
            entity = self.scope.touches[world.made]
            seq = max(world.timeline[-1].seq if world.timeline else 0, world.base) + 1
            before = next((c.version for c in reversed(world.timeline) if c.entity == entity), 0)
            version = world.base // EPOCH * EPOCH + before % EPOCH + 1
            change = Change(seq, entity, version, world.now, world.made + 1)
            yield f"commit {entity} as {seq}", world._replace(timeline=(*world.timeline, change), made=world.made + 1)
        if world.left.ticks:
            yield "time passes", world._replace(now=world.now + 1, left=self.spend(world.left, "ticks"))
        if world.left.beats:
            beat = (max(world.timeline[-1].seq if world.timeline else 0, world.base), world.now)
            left = self.spend(world.left, "beats")
            if beat not in world.bus:
                yield f"the relay beats {beat}", world._replace(bus=(*world.bus, beat), left=left)
        if world.left.restores and world.timeline:
            base = (world.base // EPOCH + 1) * EPOCH if self.rules.incarnation else world.base
            left = self.spend(world.left, "restores")
            yield "restored from a backup", world._replace(timeline=world.timeline[:-1], base=base, bus=(), left=left)

    def _worker(self, world: World) -> Iterator[Step]:
        feed = world.feed
        for change in world.timeline:
            if change.seq <= feed.last:
                continue
            higher = change.seq // EPOCH > feed.last // EPOCH and change.seq % EPOCH == 1
            if change.seq == feed.last + 1 or higher or not feed.last or not self.rules.ordered:
                items = (*feed.items, Item(change.seq, 0, change))
                gone = {"entry": None} if self.rules.delete else {}
                yield f"append {change.seq}", world._replace(feed=Feed(change.seq, 0, items), **gone)
        for seq, t in world.bus:
            sub = t + 1
            after = (seq == feed.last and sub > feed.sub) or (seq > feed.last and seq % EPOCH == 0)
            fits = after or not feed.last
            anywhere = not self.rules.beats_in_order and (seq, sub) > (feed.last, feed.sub)
            if fits or anywhere or (not self.rules.ordered and (seq, sub) > (feed.last, feed.sub)):
                items = (*feed.items, Item(seq, sub, None))
                yield f"append heartbeat {seq}", world._replace(feed=Feed(seq, sub, items))

    def _redis(self, world: World) -> Iterator[Step]:
        if world.left.trims and world.feed.items:
            feed = world.feed._replace(items=world.feed.items[1:])
            yield "trim", world._replace(feed=feed, left=self.spend(world.left, "trims"))
        if world.left.flushes and world.feed.items:
            yield "flush", world._replace(feed=Feed(), entry=None, left=self.spend(world.left, "flushes"))
        if world.left.rollbacks and world.older not in (None, world.entry):
            yield (
                "the entry is rolled back",
                world._replace(entry=world.older, left=self.spend(world.left, "rollbacks")),
            )

    def _reader(self, world: World, number: int) -> Iterator[Step]:
        reader = world.readers[number]
        following = next((item for item in world.feed.items if (item.seq, item.sub) > reader.read), None)
        if following is not None:
            heard = self.hear(reader, following, world.now)
            what = "change" if following.change else "heartbeat"
            yield (
                f"reader {number} hears {what} {following.seq}",
                world._replace(readers=put(world.readers, number, heard)),
            )
        if world.left.restarts:
            fresh = Reader(since=10**6 if self.rules.jumps else 0)
            for item in world.feed.items:
                fresh = self.hear(fresh, item, world.now)
            readers = put(world.readers, number, fresh)
            filling = put(world.filling, number, None)
            left = self.spend(world.left, "restarts")
            yield f"reader {number} starts anew", world._replace(readers=readers, filling=filling, left=left)
        if world.left.tokens and world.filling[number] is not None and not reader.wants:
            version, _ = shown(world.timeline, 10**6)
            if version > reader.latest:
                told = reader._replace(latest=version, wants=version)
                left = self.spend(world.left, "tokens")
                yield (
                    f"a caller with a@{version} joins at {number}",
                    world._replace(readers=put(world.readers, number, told), left=left),
                )

    def hear(self, reader: Reader, item: Item, now: int) -> Reader:
        beat = item.change is None
        if self.rules.beats_in_order:
            fits = item.seq == (reader.position if beat else reader.position + 1)
        else:
            fits = reader.position <= item.seq <= reader.position + 1
        since = reader.since
        if not fits and self.rules.jumps:
            since = item.seq if beat and self.rules.beat_begins_at_itself else item.seq - 1
        latest = reader.latest
        if item.seq // EPOCH > reader.position // EPOCH and self.rules.jumps:
            latest = 0
        if item.change is not None and item.change.entity == "a":
            latest = max(latest, item.change.version)
        as_of = reader.as_of
        if beat:
            as_of = now if self.rules.age == "arrival" else max(as_of, item.sub - 1)
        return reader._replace(position=item.seq, since=since, latest=latest, as_of=as_of, read=(item.seq, item.sub))

    def _filler(self, world: World, number: int) -> Iterator[Step]:
        reader, fill = world.readers[number], world.filling[number]
        if fill is None:
            if world.left.fills:
                begun = put(world.filling, number, Fill(reader.position))
                yield (
                    f"fill {number} begins at {reader.position}",
                    world._replace(filling=begun, left=self.spend(world.left, "fills")),
                )
            return
        if fill.found is None:
            yield from self._ask(world, number, fill)
        elif not fill.checked:
            if not self.rules.own_check or reader.latest <= fill.found.version:
                yield (
                    f"fill {number} finds nothing newer announced",
                    world._replace(filling=put(world.filling, number, fill._replace(checked=True))),
                )
            else:
                yield f"fill {number} is given up", self._ended(world, number)
        else:
            yield from self._finish(world, number, fill.found)

    def _ask(self, world: World, number: int, fill: Fill) -> Iterator[Step]:
        newest = len(world.timeline)
        for length in range(max(0, newest - self.scope.lag), newest + 1):
            seen = world.timeline[:length]
            upto = seen[-1].seq if seen else world.base
            version, uid = shown(seen, upto)
            replica = length < newest and self.rules.answer_seq
            position = min(fill.position, upto) if replica else fill.position
            found = fill._replace(found=Entry(version, uid, position))
            yield f"fill {number} reads a@{version}", world._replace(filling=put(world.filling, number, found))

    def _finish(self, world: World, number: int, found: Entry) -> Iterator[Step]:
        wants = world.readers[number].wants
        after = self._ended(world, number)._replace(entry=found, older=world.entry)
        if wants > found.version and not self.rules.joined_checked:
            yield f"the caller who joined gets a@{found.version}, older than its token a@{wants}", after
        else:
            yield f"fill {number} stores a@{found.version}", after

    def _ended(self, world: World, number: int) -> World:
        reader = world.readers[number]._replace(wants=0)
        return world._replace(filling=put(world.filling, number, None), readers=put(world.readers, number, reader))
