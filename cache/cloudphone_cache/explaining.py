"""One view's entry, told to a person: what each of its segments shows, since when, and what was announced since."""

from collections.abc import Mapping
from typing import Any

import msgspec

from .entry import KINDS, Deps, Entry, State
from .knowledge import Knowledge
from .view import NEVER, View

_STATES = {State.GOOD: "good", State.KEPT: "kept", State.MISSING: "missing"}


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entity as a segment shows it. `announced` is the highest version heard of it, None if none was of late."""

    entity: str
    service: str
    version: int
    announced: int | None


class ShownSegment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One field. `state`: good, kept (its service did not answer: the last good value) or missing (there was none).
    Read at `read_at`; `positions` are where the feeds stood then; true until `until`, None if nothing limits it."""

    field: str
    state: str
    read_at: int
    until: int | None
    positions: dict[str, int]
    entities: list[Shown]
    bytes: int


class Explained(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One view's entry as the layer that would serve it holds it, and the verdict on it. Times in ms since 1970."""

    key: str
    layer: str | None
    view: str = ""
    kind: str | None = None
    proven: bool = False
    reason: str = "there is no entry"
    positions: dict[str, int] = {}
    versions: dict[str, dict[str, int]] = {}
    announced: dict[str, int] = {}
    segments: list[ShownSegment] = []
    read_at: int | None = None
    fresh_until: int | None = None
    until: int | None = None
    hard_until: int | None = None
    tenant: str | None = None
    owner: str | None = None
    etag: str = ""
    bytes: int = 0


def explained(
    key: str, view: View[Any], entry: Entry, layer: str, knowledge: Knowledge, *, proven: bool, reason: str
) -> Explained:
    return Explained(
        key=key,
        layer=layer,
        view=view.name,
        kind=KINDS[entry.kind],
        proven=proven,
        reason=reason,
        positions={service: position for service, (position, _) in entry.deps.items()},
        versions={service: dict(versions) for service, (_, versions) in entry.deps.items()},
        announced={
            shown.entity: shown.announced for shown in _shown(entry.deps, knowledge) if shown.announced is not None
        },
        segments=_segments(view, entry, knowledge),
        read_at=entry.read_at,
        fresh_until=entry.fresh_until,
        until=entry.until,
        hard_until=entry.hard_until,
        tenant=entry.audience.tenant,
        owner=entry.audience.owner,
        etag=entry.etag.decode(),
        bytes=len(entry.body),
    )


def _segments(view: View[Any], entry: Entry, knowledge: Knowledge) -> list[ShownSegment]:
    aliases: Mapping[str, str] = {segment.name: segment.alias for segment in view.segments}
    return [
        ShownSegment(
            field=aliases.get(line.name, line.name),
            state=_STATES[State(line.state)],
            read_at=line.read_at,
            until=line.until if line.until < NEVER else None,
            positions={service: position for service, (position, _) in line.deps.items()},
            entities=_shown(line.deps, knowledge),
            bytes=line.end - line.start,
        )
        for line in entry.lines(view)
    ]


def _shown(deps: Deps, knowledge: Knowledge) -> list[Shown]:
    found: list[Shown] = []
    for service, (_, versions) in deps.items():
        heard = knowledge.services.get(service)
        latest: Mapping[str, int] = heard.latest if heard is not None else {}
        found += [
            Shown(entity=entity, service=service, version=version, announced=latest.get(entity))
            for entity, version in versions.items()
        ]
    return found
