"""What `make bench` measures, by name and in order. Each is given the stand, and adds its figures."""

from collections.abc import Awaitable, Callable, Mapping

from tests.bench.figures import Figures
from tests.bench.growth.dependencies import dependencies
from tests.bench.growth.processes import processes
from tests.bench.growth.rates import rates
from tests.bench.growth.views import views
from tests.bench.scenarios.allocating import allocate
from tests.bench.scenarios.beside_peers import peers
from tests.bench.scenarios.changes import heard, seen
from tests.bench.scenarios.crowds import mixed, stampede
from tests.bench.scenarios.hits import hits
from tests.bench.scenarios.installing import installs
from tests.bench.scenarios.invoicing import invoicing
from tests.bench.scenarios.metering import metering
from tests.bench.scenarios.misses import lists, misses
from tests.bench.scenarios.purchasing import purchasing
from tests.bench.scenarios.rating import rating
from tests.bench.scenarios.reconciling import reconcile
from tests.bench.scenarios.transferring import transferring
from tests.bench.scenarios.uploading import uploads
from tests.bench.scenarios.warming import stored, warmup
from tests.bench.stand import Stand

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
    "reconcile": reconcile,
    "allocate": allocate,
    "installs": installs,
    "metering": metering,
    "purchases": purchasing,
    "transfers": transferring,
    "rating": rating,
    "invoicing": invoicing,
    "uploads": uploads,
}
