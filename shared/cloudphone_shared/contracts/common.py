from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

_NO_NUL = r"^[^\x00]*$"
Name = Annotated[
    str, Meta(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]
"""1 to 120 characters, no control characters, not only blanks."""
Text = Annotated[str, Meta(max_length=2000, pattern=_NO_NUL)]
Email = Annotated[
    str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+$")
]
Tag = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Currency = Annotated[str, Meta(max_length=3, pattern=r"^[A-Z]{3}$")]
MinorUnits = Annotated[int, Meta(ge=0, le=10**15)]
"""Money in the currency's smallest unit (cents), never a float."""


class Contract(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read: unknown fields are ignored, so that an owner can add one."""


class Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is accepted: an unknown field is refused, so that a misspelt one is not lost."""


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A service's answer: what it shows, with the versions of the entities that it shows.

    The versions were read in the snapshot of the data or before it, never after. `seq` is the highest change
    number within the snapshot; only an answer that does not come from the primary names it.
    """

    data: T
    entities: dict[str, int]
    seq: int | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="camel"):
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[T]
    next_cursor: str | None = None


MOST_IDS = 100
"""A batch asks for no more at once."""


class Many(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="camel"):
    """A batch answer: one `Answer` per id that exists and may be seen, in no order.

    Absent ids are in `absent`, with their entity's version.
    """

    found: dict[str, Answer[T]]
    absent: dict[str, dict[str, int]]
