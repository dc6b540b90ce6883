"""ETag and If-Match on resources: the resource's own version, strong. Never a view's ETag."""

import re

from ..errors import Invalid, PreconditionFailed

_ETAG = re.compile(r'^"v(\d{1,16})"$')


def etag(version: int) -> str:
    return f'"v{version}"'


def expected_version(if_match: str | None) -> int | None:
    """The version that an If-Match header asks for; None for none and for `*`. Raises Invalid."""
    if if_match is None or if_match.strip() == "*":
        return None
    if not (match := _ETAG.match(if_match.strip())):
        raise Invalid('If-Match must be one ETag as a resource carries it, such as "v1000000000017"')
    return int(match[1])


def check_version(expected: int | None, present: int) -> None:
    """Call it under the row's lock. Raises PreconditionFailed."""
    if expected is not None and expected != present:
        raise PreconditionFailed(f"The resource is at {etag(present)}", current=etag(present))
