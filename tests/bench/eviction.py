"""Which entries to keep: candidates for the process's own layer against LRU, on the same traces.

`python -m tests.bench.eviction [--requests N]` prints hit ratios per trace, and what a hit and a put cost. Traces are
made by seed: requests by a Zipf law over views of very different sizes, with a scan through views that nobody asks for
twice, or with a change of what is popular half-way. Everything is bounded by bytes.
"""

import argparse
import itertools
import random
import time
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

VIEWS = 20_000
SHARES = (0.01, 0.05, 0.2)
"""Of all views' bytes, what fits."""


class Item:
    """What is kept. `seen` is the policy's own note."""

    __slots__ = ("hits", "key", "place", "seen", "size")

    def __init__(self, key: int, size: int) -> None:
        self.key = key
        self.size = size
        self.hits = self.seen = self.place = 0


class Policy(Protocol):
    def __init__(self, limit: int) -> None: ...

    def get(self, key: int) -> Item | None: ...

    def put(self, item: Item) -> None: ...

    bytes: int


class Lru:
    """The longest unused goes first; a hit moves its entry to the end."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._items: OrderedDict[int, Item] = OrderedDict()

    def get(self, key: int) -> Item | None:
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def put(self, item: Item) -> None:
        self._items[item.key] = item
        self.bytes += item.size
        while self.bytes > self.limit:
            self.bytes -= self._items.popitem(last=False)[1].size


class Sieve:
    """One queue and a hand that goes from old to new: what was hit since its last visit stays where it is.

    The queue is a list of places, swept of holes when half of it is holes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._items: dict[int, Item] = {}
        self._queue: list[Item | None] = []
        self._hand = 0

    def get(self, key: int) -> Item | None:
        item = self._items.get(key)
        if item is not None:
            item.hits = 1
        return item

    def put(self, item: Item) -> None:
        while self._items and self.bytes + item.size > self.limit:
            self._evict()
        self._items[item.key] = item
        self._queue.append(item)
        self.bytes += item.size

    def _evict(self) -> None:
        queue = self._queue
        while True:
            if self._hand >= len(queue):
                self._hand = 0
            item = queue[self._hand]
            if item is not None:
                if not item.hits:
                    break
                item.hits = 0
            self._hand += 1
        queue[self._hand] = None
        self._hand += 1
        del self._items[item.key]
        self.bytes -= item.size
        if len(queue) > 2 * len(self._items) + 64:
            self._hand = sum(1 for each in queue[: self._hand] if each is not None)
            self._queue = [each for each in queue if each is not None]


class S3Fifo:
    """A small queue on trial (a tenth of the bytes), a main one, and the keys that left the small one of late."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._trial_limit, self._trial_bytes = limit // 10, 0
        self._items: dict[int, Item] = {}
        self._trial: deque[Item] = deque()
        self._main: deque[Item] = deque()
        self._ghosts: OrderedDict[int, None] = OrderedDict()

    def get(self, key: int) -> Item | None:
        item = self._items.get(key)
        if item is not None:
            item.hits += 1
        return item

    def put(self, item: Item) -> None:
        self._items[item.key] = item
        self.bytes += item.size
        if item.key in self._ghosts:
            del self._ghosts[item.key]
            self._main.append(item)
        else:
            self._trial.append(item)
            self._trial_bytes += item.size
        while self.bytes > self.limit:
            if self._trial_bytes > self._trial_limit or not self._main:
                self._judge()
            else:
                self._turn()

    def _judge(self) -> None:
        item = self._trial.popleft()
        self._trial_bytes -= item.size
        if item.hits > 1:
            item.seen = item.hits
            self._main.append(item)
            return
        self._drop(item)
        self._ghosts[item.key] = None
        if len(self._ghosts) > len(self._items):
            self._ghosts.popitem(last=False)

    def _turn(self) -> None:
        item = self._main.popleft()
        if item.hits > item.seen:
            item.seen = max(item.seen + 1, item.hits - 2)
            self._main.append(item)
        else:
            self._drop(item)

    def _drop(self, item: Item) -> None:
        del self._items[item.key]
        self.bytes -= item.size


class WTinyLfu:
    """A window (1 %) in front of a segmented LRU; who leaves the window must be asked for more often than its victim.

    Frequencies are exact counts, halved every ten times as many requests as entries: the best a sketch could do.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._window: OrderedDict[int, Item] = OrderedDict()
        self._probation: OrderedDict[int, Item] = OrderedDict()
        self._protected: OrderedDict[int, Item] = OrderedDict()
        self._counts: dict[int, int] = {}
        self._asked = self._window_bytes = self._protected_bytes = 0

    def get(self, key: int) -> Item | None:
        self._count(key)
        if (item := self._protected.get(key)) is not None:
            self._protected.move_to_end(key)
        elif (item := self._window.get(key)) is not None:
            self._window.move_to_end(key)
        elif (item := self._probation.pop(key, None)) is not None:
            self._protected[key] = item
            self._protected_bytes += item.size
            while self._protected_bytes > self.limit * 0.8:
                other, demoted = self._protected.popitem(last=False)
                self._protected_bytes -= demoted.size
                self._probation[other] = demoted
        return item

    def put(self, item: Item) -> None:
        self._window[item.key] = item
        self._window_bytes += item.size
        self.bytes += item.size
        while self._window_bytes > self.limit // 100 and self._window:
            key, candidate = self._window.popitem(last=False)
            self._window_bytes -= candidate.size
            self._admit(key, candidate)

    def _admit(self, key: int, candidate: Item) -> None:
        self._probation[key] = candidate
        while self.bytes > self.limit:
            victims = self._probation if len(self._probation) > 1 else self._protected or self._probation
            victim = next(iter(victims))
            if victim != key and self._counts.get(key, 0) <= self._counts.get(victim, 0):
                victims, victim = self._probation, key
            self.bytes -= (dropped := victims.pop(victim)).size
            if victims is self._protected:
                self._protected_bytes -= dropped.size
            if victim == key:
                return

    def _count(self, key: int) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1
        self._asked += 1
        held = len(self._window) + len(self._probation) + len(self._protected)
        if self._asked > 10 * max(held, 100):
            self._asked = 0
            self._counts = {each: half for each, count in self._counts.items() if (half := count // 2)}


POLICIES: dict[str, Callable[[int], Policy]] = {"LRU": Lru, "SIEVE": Sieve, "S3-FIFO": S3Fifo, "W-TinyLFU": WTinyLfu}


class Zipf:
    """Ranks by a Zipf law, by inversion; which view has which rank is shuffled."""

    def __init__(self, exponent: float, rng: random.Random) -> None:
        weights = (1 / rank**exponent for rank in range(1, VIEWS + 1))
        self._sums = list(itertools.accumulate(weights))
        self._rng = rng
        self.views = list(range(VIEWS))
        rng.shuffle(self.views)

    def __next__(self) -> int:
        return self.views[bisect_left(self._sums, self._rng.random() * self._sums[-1])]


def zipf(exponent: float) -> Callable[[int], Iterator[int]]:
    def trace(requests: int) -> Iterator[int]:
        source = Zipf(exponent, random.Random(7))
        return (next(source) for _ in range(requests))

    return trace


def with_scans(requests: int) -> Iterator[int]:
    """A tenth of the requests in ten sweeps over views that are asked for once (a list paged through, a crawler)."""
    source, once = Zipf(1.0, random.Random(7)), itertools.count(VIEWS)
    for number in range(requests):
        yield next(once) if number * 100 // requests % 10 == 9 else next(source)


def with_a_shift(requests: int) -> Iterator[int]:
    """Half-way all views change ranks."""
    source = Zipf(1.0, random.Random(7))
    for number in range(requests):
        if number == requests // 2:
            random.Random(8).shuffle(source.views)
        yield next(source)


TRACES: dict[str, Callable[[int], Iterator[int]]] = {
    "zipf 0.8": zipf(0.8),
    "zipf 1.0": zipf(1.0),
    "zipf 1.2": zipf(1.2),
    "zipf 1.0 + scans": with_scans,
    "zipf 1.0 + shift": with_a_shift,
}


def size_of(view: int) -> int:
    """Bytes in memory: 1.5 KB to 40 KB, 4 KB in the middle."""
    return round(min(max(random.Random(view).lognormvariate(8.3, 0.6), 1500), 40_000))


class Sizes(dict[int, int]):
    def __missing__(self, view: int) -> int:
        size = self[view] = size_of(view)
        return size


def hit_ratio(policy: Policy, trace: Iterator[int], sizes: Sizes) -> float:
    hits = asked = 0
    for view in trace:
        asked += 1
        if policy.get(view) is not None:
            hits += 1
        else:
            policy.put(Item(view, sizes[view]))
    return hits / asked


class Cost(NamedTuple):
    """Nanoseconds of CPU per hit on what is held, and per put of something new into a full layer."""

    hit: float
    put: float


def cost(make: Callable[[int], Policy], count: int = 5000) -> Cost:
    policy = make(count * 4096)
    for view in range(count):
        policy.put(Item(view, 4096))
    held = [view for view in range(count) if policy.get(view) is not None]
    asked = random.Random(7).choices(held, k=200_000)
    started = time.process_time_ns()
    for view in asked:
        policy.get(view)
    hit = (time.process_time_ns() - started) / len(asked)
    items = [Item(view, 4096) for view in range(count, count + 50_000)]
    started = time.process_time_ns()
    for item in items:
        policy.put(item)
    return Cost(hit, (time.process_time_ns() - started) / len(items))


def main(requests: int) -> None:
    sizes = Sizes()
    whole = sum(sizes[view] for view in range(VIEWS))
    print(f"{'hit ratio, % of requests':26}" + "".join(f"{name:>12}" for name in POLICIES))
    for (name, trace), share in itertools.product(TRACES.items(), SHARES):
        found = [hit_ratio(make(round(whole * share)), trace(requests), sizes) for make in POLICIES.values()]
        print(f"{name + f', {share:.0%} fits':26}" + "".join(f"{100 * ratio:>12.1f}" for ratio in found))
    costs = [cost(make) for make in POLICIES.values()]
    print(f"{'ns per hit':26}" + "".join(f"{each.hit:>12.0f}" for each in costs))
    print(f"{'ns per put':26}" + "".join(f"{each.put:>12.0f}" for each in costs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200_000)
    main(parser.parse_args().requests)
