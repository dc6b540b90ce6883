"""What every batch answer takes from its URL: the ids asked for at once."""

from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from ..contracts.common import MOST_IDS
from ..errors import FieldError, Invalid

Ids = Annotated[str, QueryParameter(name="ids", max_length=MOST_IDS * 40)]


def parse_ids(text: str) -> list[UUID]:
    """Each once, in order. Raises Invalid for anything but 1 to 100 UUIDs with commas between."""
    try:
        found = list(dict.fromkeys(UUID(part) for part in text.split(",")))
    except ValueError:
        found = []
    if not 1 <= len(found) <= MOST_IDS:
        message = f"must be 1 to {MOST_IDS} ids with commas between"
        raise Invalid(f"ids {message}", errors=[FieldError(field="ids", message=message)])
    return found
