"""What `make bench` measures, by name and in order. Each is given the stand, and adds its figures."""

from collections.abc import Awaitable, Callable, Mapping

from tests.bench.figures import Figures
from tests.bench.growth.dependencies import dependencies
from tests.bench.growth.processes import processes
from tests.bench.growth.rates import rates
from tests.bench.growth.views import views
from tests.bench.stand import Stand

from .beside_peers import peers
from .changes import heard, seen
from .crowds import mixed, stampede
from .hits import hits
from .misses import lists, misses
from .warming import stored, warmup

Scenario = Callable[[Stand, Figures], Awaitable[None]]

SCENARIOS: Mapping[str, Scenario] = {
    "misses": misses,
    "lists": lists,
    "stored": stored,
    "heard": heard,
    "seen": seen,
    "stampede": stampede,
    "warmup": warmup,
    "hits": hits,
    "peers": peers,
    "mixed": mixed,
    "processes": processes,
    "dependencies": dependencies,
    "views": views,
    "rates": rates,
}
