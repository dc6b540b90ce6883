"""`cloudphone cache …`"""

from datetime import UTC, datetime
from typing import Annotated, Any, cast

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console

from cloudphone_deploy.commands.asking import ask_plainly
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table

app = cyclopts.App(
    name="cache",
    help="What the aggregation cache holds and why, as the admin BFF's process knows it.",
    help_format="markdown",
)

Key = Annotated[str, Parameter(help="A view's key, such as `device:full:<id>`.")]


@app.command
def show(key: Key, /, *, json: Json = False, data: Data = None) -> None:
    """One view's entry: what it was composed from, and whether it is proven fresh and why.

    For example:

    - `cloudphone cache show device:full:018f4e6a-0000-7000-8000-000000000001`
    """
    answer = uvloop.run(ask_plainly("bff-admin", data, "GET", "/admin/cache/view", {"key": key}))
    if json:
        print(plain(answer))
    else:
        _print_tree(answer)


@app.command
def drop(key: Key, /, *, json: Json = False, data: Data = None) -> None:
    """Forget one view's entry: its next reader composes it. Never needed for freshness.

    For example:

    - `cloudphone cache drop device:full:018f4e6a-0000-7000-8000-000000000001`
    """
    answer = uvloop.run(ask_plainly("bff-admin", data, "DELETE", "/admin/cache/view", {"key": key}))
    print(plain(answer) if json else f"Dropped {key}." if answer["dropped"] else f"There was no entry for {key}.")


@app.command
def stats(*, json: Json = False, data: Data = None) -> None:
    """Hits, misses and compositions, and how far behind each service's announcements this process is."""
    answer, feeds = uvloop.run(_stats(data))
    if json:
        print(plain({**answer, "feeds": feeds}))
        return
    rate = answer["hitRate"]
    print("No reads yet." if rate is None else f"{rate:.1%} of reads were hits.")
    counters = [[name.replace("_", " "), f"{count:g}"] for name, count in answer["counters"].items()]
    Console().print(table(("counter", "since start"), counters))
    print(f"\nThe feeds are {'live' if feeds['live'] else 'not live: everything is composed'}.")
    rows = [[str(_spelt(name, feed[name])) for name in FEED] for feed in feeds["services"]]
    Console().print(table(("service", "position", "nothing missed since", "as of (UTC)", "age in ms"), rows))


FEED = ("service", "position", "since", "asOfMs", "ageMs")


async def _stats(data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    answer = await ask_plainly("bff-admin", data, "GET", "/admin/cache")
    return answer, await ask_plainly("bff-admin", data, "GET", "/admin/cache/feed")


def _spelt(name: str, value: Any) -> Any:
    if value is None:
        return "–"
    return f"{datetime.fromtimestamp(value / 1000, UTC):%T.%f}"[:-3] if name == "asOfMs" else value


def _print_tree(answer: Any, indent: str = "") -> None:
    for name, value in _named(answer):
        if value and isinstance(value, dict | list):
            print(f"{indent}{name}:")
            _print_tree(value, indent + "  ")
        else:
            print(f"{indent}{name}: {'–' if value in (None, [], {}) else value}")


def _named(answer: Any) -> list[tuple[str, Any]]:
    if isinstance(answer, dict):
        return list(cast("dict[str, Any]", answer).items())
    return [(str(place), value) for place, value in enumerate(cast("list[Any]", answer))]
