"""`cloudphone cache …`"""

from datetime import UTC, datetime
from typing import Annotated, Any

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cloudphone_deploy.commands.asking import ask_plainly
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table

app = cyclopts.App(
    name="cache",
    help=(
        "What the aggregation caches of all processes hold, and why.\n\n"
        "The admin BFF is asked; it asks every process of both BFFs. `cloudphone cache stats` is of that one alone."
    ),
    help_format="markdown",
)

Key = Annotated[str, Parameter(help="A view's key, such as `device:full:<id>`.")]
Limit = Annotated[int, Parameter(help="At most so many.")]


@app.command
def show(key: Key, /, *, json: Json = False, data: Data = None) -> None:
    """One view's entry: what each segment shows since when, what was announced since, whether it is proven and why.

    For example:

    - `cloudphone cache show device:full:018f4e6a-0000-7000-8000-000000000001`
    """
    answer = _ask(data, "GET", "view", key=key)
    if json:
        print(plain(answer))
        return
    print(f"{key}, as {_label(answer['process'])} has it")
    if answer["layer"] is None:
        print(f"  {answer['reason']}")
    else:
        _print_entry(answer)
    for each in answer["elsewhere"]:
        held = f"{each['kind']} in {each['layer']}, read {_moment(each['readAt'])}; " if each["layer"] else ""
        print(f"{_label(each['process'])}: {held}{each['reason']}")
    _print_silent(answer)


@app.command
def drop(key: Key, /, *, json: Json = False, data: Data = None) -> None:
    """Forget one view's entry, in Redis and in every process: its next reader composes it. Never needed for freshness.

    For example:

    - `cloudphone cache drop device:full:018f4e6a-0000-7000-8000-000000000001`
    """
    answer = _ask(data, "DELETE", "view", key=key)
    if json:
        print(plain(answer))
        return
    heard = ", ".join(_label(each) for each in answer["heard"])
    print(f"Dropped {key}." if answer["dropped"] else f"There was no entry for {key}.")
    print(f"Heard by {heard}.")
    _print_silent(answer)


@app.command
def misses(
    *,
    view: Annotated[str | None, Parameter(help="Of this view only, such as `device:full`.")] = None,
    key: Annotated[str | None, Parameter(help="Of this key only.")] = None,
    request: Annotated[str | None, Parameter(help="Of the request with this X-Request-Id only.")] = None,
    limit: Limit = 30,
    json: Json = False,
    data: Data = None,
) -> None:
    """Why reads of late were misses, in every process; each remembers its last 256.

    For example:

    - `cloudphone cache misses --view device:full`
    - `cloudphone cache misses --request 0d2c…`
    """
    answer = _ask(data, "GET", "misses", view=view, key=key, requestId=request, limit=str(limit))
    if json:
        print(plain(answer))
        return
    rows = [
        [
            _moment(each["miss"]["atMs"]),
            _short(each["process"]),
            each["miss"]["key"],
            each["miss"]["why"],
            each["miss"]["requestId"],
        ]
        for each in answer["items"]
    ]
    if rows:
        _print_table(("when (UTC)", "process", "key", "why", "request"), rows)
        print()
        for reason in dict.fromkeys(f"{each['miss']['key']}: {each['miss']['reason']}" for each in answer["items"]):
            print(reason)
    else:
        print("No such miss is remembered.")
    _print_silent(answer)


@app.command
def processes(*, json: Json = False, data: Data = None) -> None:
    """Every process of both BFFs: since when it runs, its hit rate, and how far it has heard each service."""
    answer = _ask(data, "GET", "processes")
    if json:
        print(plain(answer))
        return
    rows = [row for state in answer["items"] for row in _process_rows(state)]
    headings = ("process", "running since (UTC)", "hits", "service", "position", "age ms", "changes behind")
    _print_table(headings, rows)
    for state in answer["items"]:
        if not state["answers"]:
            print(f"{_label(state['process'])} does not answer; it last reported {_moment(state['report']['atMs'])}.")
        elif not state["report"]["live"]:
            print(f"{_label(state['process'])} hears no feed: it composes everything.")


@app.command
def hottest(*, limit: Limit = 20, json: Json = False, data: Data = None) -> None:
    """Which views are asked for most, over all processes."""
    answer = _ask(data, "GET", "hottest", limit=str(limit))
    if json:
        print(plain(answer))
        return
    rows = [
        [each["key"], f"{each['hits']:,}", ", ".join(_short(held["process"]) for held in each["held"])]
        for each in answer["items"]
    ]
    if rows:
        _print_table(("key", "hits of late", "held by"), rows)
    else:
        print("No process holds anything yet.")
    _print_silent(answer)


@app.command
def l1(*, limit: Limit = 5, json: Json = False, data: Data = None) -> None:
    """What each process holds in its own layer: bytes by view, and its hottest entries."""
    answer = _ask(data, "GET", "layers", limit=str(limit))
    if json:
        print(plain(answer))
        return
    for layer in answer["items"]:
        print(
            f"{_label(layer['process'])}: {_counted(layer['entries'])}, "
            f"{_size(layer['bytes'])} of {_size(layer['limitBytes'])}"
        )
        rows = [[f"  {shelf['view']}", f"{shelf['entries']:,}", _size(shelf["bytes"])] for shelf in layer["views"]]
        if rows:
            _print_table(("  view", "entries", "size"), rows)
        for held in layer["hottest"]:
            since = _moment(held["sinceMs"])
            print(f"  {held['key']}: {held['hits']:,} hits, {_size(held['bytes'])}, held since {since}")
    _print_silent(answer)


@app.command
def showing(
    entity: Annotated[str, Parameter(help="Such as `device:<id>` or `user:<id>`.")],
    /,
    *,
    limit: Limit = 100,
    json: Json = False,
    data: Data = None,
) -> None:
    """Which cached views show an entity. All entries are walked through, gently; Ctrl-C stops.

    For example:

    - `cloudphone cache showing device:018f4e6a-0000-7000-8000-000000000001`
    """
    found, whole = _walk(entity, limit, data, quiet=json)
    if json:
        print(plain({"entity": entity, "complete": whole, "views": found}))
        return
    rows = [[view["key"], view["kind"], str(view["version"]), _moment(view["readAt"])] for view in found]
    if rows:
        _print_table(("key", "kind", "shows version", "read (UTC)"), rows)
    else:
        print(f"No cached view shows {entity}.")
    if not whole:
        print(f"There may be more: {len(found)} were found before the end (--limit {limit}).")


@app.command
def stats(*, json: Json = False, data: Data = None) -> None:
    """Hits, misses and compositions of the process that answers, and how far behind it is of each service."""
    answer, feeds = _ask(data, "GET", ""), _ask(data, "GET", "feed")
    if json:
        print(plain({**answer, "feeds": feeds}))
        return
    rate = answer["hitRate"]
    print("No reads yet." if rate is None else f"{rate:.1%} of reads were hits.")
    counters = [[name.replace("_", " "), f"{count:,.10g}"] for name, count in answer["counters"].items()]
    _print_table(("counter", "since start"), counters)
    print(f"\nThe feeds are {'live' if feeds['live'] else 'not live: everything is composed'}.")
    rows = [[str(_spelt(name, feed[name])) for name in FEED] for feed in feeds["services"]]
    _print_table(("service", "position", "nothing missed since", "as of (UTC)", "age in ms"), rows)


FEED = ("service", "position", "since", "asOfMs", "ageMs")


def _ask(data: Any, method: str, what: str, **params: str | None) -> Any:
    given = {name: value for name, value in params.items() if value is not None}
    return uvloop.run(ask_plainly("bff-admin", data, method, f"/admin/cache/{what}".rstrip("/"), given))


def _walk(entity: str, limit: int, data: Any, *, quiet: bool) -> tuple[list[dict[str, Any]], bool]:
    """The views found, and whether that is all of them. Stretches until the limit, the end, or Ctrl-C."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[keys]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("looking", total=None, keys="")
        scanned = 0
        try:
            while True:
                stretch = _ask(data, "GET", "showing", entity=entity, cursor=cursor, limit=str(min(limit, 1000)))
                found |= {view["key"]: view for view in stretch["views"]}
                scanned, cursor = scanned + stretch["scanned"], stretch["nextCursor"]
                keys = f"{scanned:,} of about {stretch['total']:,} keys, {len(found):,} found"
                progress.update(bar, completed=scanned, total=max(stretch["total"], scanned), keys=keys)
                if cursor is None or len(found) >= limit:
                    break
        except KeyboardInterrupt:
            pass
    return list(found.values())[:limit], cursor is None and len(found) <= limit


def _print_entry(answer: dict[str, Any]) -> None:
    audience = ", ".join(f"{name} {answer[name]}" for name in ("tenant", "owner") if answer[name]) or "nobody's own"
    print(f"  {answer['kind']} in {answer['layer']}, {_size(answer['bytes'])}, {audience}")
    print(f"  {'proven' if answer['proven'] else 'not proven'}: {answer['reason']}")
    times = {"read": "readAt", "refreshed from": "freshUntil", "served until": "until", "kept until": "hardUntil"}
    print("  " + ", ".join(f"{name} {_moment(answer[field])}" for name, field in times.items()) + " (UTC)\n")
    rows = [row for segment in answer["segments"] for row in _segment_rows(segment)]
    _print_table(("field", "state", "read (UTC)", "entity", "shows version", "announced"), rows)


def _segment_rows(segment: dict[str, Any]) -> list[list[str]]:
    """A line for each entity; the field's own columns on the first alone."""
    first = [segment["field"], segment["state"], _moment(segment["readAt"])]
    shown = [
        [each["entity"], str(each["version"]), _announced(each["version"], each["announced"])]
        for each in segment["entities"]
    ] or [["no entity", "", ""]]
    return [[*(first if place == 0 else ["", "", ""]), *rest] for place, rest in enumerate(shown)]


def _announced(version: int, announced: int | None) -> str:
    if announced is None:
        return "not of late"
    return f"{announced}, newer" if announced > version else str(announced)


def _process_rows(state: dict[str, Any]) -> list[list[str]]:
    """A line for each service; the process's own columns on the first alone."""
    report = state["report"]
    rate = "–" if report["hitRate"] is None else f"{report['hitRate']:.1%}"
    first = [_label(state["process"]), _moment(report["sinceMs"]), rate]
    return [
        [
            *(first if place == 0 else ["", "", ""]),
            *(str(_spelt(name, feed[name])) for name in ("service", "position", "ageMs", "behind")),
        ]
        for place, feed in enumerate(report["feeds"])
    ]


def _print_table(headings: tuple[str, ...], rows: list[list[str]]) -> None:
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width to keep to.
        console = Console(width=1000)
    console.print(table(headings, rows))


def _print_silent(answer: dict[str, Any]) -> None:
    for process in answer["silent"]:
        print(f"{_label(process)} did not answer.")


def _label(process: dict[str, Any]) -> str:
    return f"{process['name']}@{process['host']}:{process['pid']}"


def _short(process: dict[str, Any]) -> str:
    return f"{process['name']}:{process['pid']}"


def _moment(ms: int | None) -> str:
    """The time in UTC, before it the date unless that is today's."""
    if ms is None:
        return "–"
    at = datetime.fromtimestamp(ms / 1000, UTC)
    today = at.date() == datetime.now(UTC).date()
    return f"{at:%T.%f}"[:-3] if today else f"{at:%Y-%m-%d %T}"


def _counted(entries: int) -> str:
    return f"{entries:,} entr{'y' if entries == 1 else 'ies'}"


def _size(count: int) -> str:
    return f"{count:,} B" if count < 10_000 else f"{count / 1e3:,.1f} KB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _spelt(name: str, value: Any) -> Any:
    if value is None:
        return "–"
    return f"{datetime.fromtimestamp(value / 1000, UTC):%T.%f}"[:-3] if name == "asOfMs" else value
