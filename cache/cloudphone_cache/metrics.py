"""The caches' own counts and the age of their feeds, for Prometheus: taken when asked for, not kept beside."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .aggregation import Cache

_SIZES = frozenset({"l1_entries", "l1_bytes", "in_flight"})
_watched: dict[str, Cache] = {}


@contextmanager
def exported(app: str, cache: Cache) -> Generator[None]:
    """Shows the cache under this app's name for as long as the block lasts."""
    _watched[app] = cache
    try:
        yield
    finally:
        if _watched.get(app) is cache:
            del _watched[app]


class _Caches(Collector):
    """Hit ratios follow from `hits_l1`, `hits_l2` and `misses`."""

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        age = GaugeMetricFamily(
            "cloudphone_cache_feed_age_seconds",
            "The most that a service's commits may be ahead of what this process has heard",
            labels=["app", "service"],
        )
        for app, cache in _watched.items():
            for name, value in cache.stats().items():
                family = families.get(name) or families.setdefault(name, _family(name))
                family.add_metric([app], value)
            for position in cache.feed_positions():
                if position.age_ms is not None:
                    age.add_metric([app, position.service], position.age_ms / 1000)
        yield from families.values()
        yield age


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    kind = GaugeMetricFamily if name in _SIZES else CounterMetricFamily
    return kind(f"cloudphone_cache_{name}", f"The cache's {name.replace('_', ' ')}", labels=["app"])


REGISTRY.register(_Caches())
