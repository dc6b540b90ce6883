"""Which of the entries held in process show an entity: so a change finds those that it outdates."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast

Dependencies = Mapping[str, tuple[int, Mapping[str, int]]]
"""Per service: the position at which composing began, and the versions of the entities shown."""

NOTHING: Mapping[str, int] = {}


class Checked(Protocol):
    """What Knowledge notes of an entry: `watched` while changes mark it, and in `tick` what was found last.

    The era (positive): it was proven, and is marked when something newer is heard. A tick, negated: nothing newer
    than it shows had been announced by then. 0: it must be looked at.
    """

    @property
    def deps(self) -> Dependencies: ...

    tick: int
    watched: bool


class Place(Protocol):
    """Where an entry is held; the next one under its key comes to the same place."""

    @property
    def entry(self) -> Checked: ...


class Shown(dict[str, Any]):
    """Of one service's entities: the place where an entry that shows it is held, or several of them in a set."""

    __slots__ = ()

    def places(self, entity: str) -> Collection[Place]:
        places = self[entity]
        return cast("set[Place]", places) if isinstance(places, set) else (places,)

    def move(self, place: Place, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Notes that the place shows the entities of `after`, and no longer those of `before`."""
        if before.keys() == after.keys():
            return
        for entity in before:
            if entity not in after:
                self._take_out(entity, place)
        for entity in after:
            if entity not in before:
                self._put_in(entity, place)

    def _put_in(self, entity: str, place: Place) -> None:
        places = self.get(entity)
        if places is None:
            self[entity] = place
        elif isinstance(places, set):
            cast("set[Place]", places).add(place)
        else:
            self[entity] = {places, place}

    def _take_out(self, entity: str, place: Place) -> None:
        places = self[entity]
        if places is place:
            del self[entity]
            return
        several = cast("set[Place]", places)
        several.remove(place)
        if len(several) == 1:
            [self[entity]] = several
