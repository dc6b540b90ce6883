"""The portal shows a caller's own things, whatever else the caller may see elsewhere."""

from cloudphone_cache import Audience
from cloudphone_shared.auth import Caller


def sees(caller: Caller, audience: Audience) -> bool:
    return audience.owner is not None and audience.owner == caller.id
