"""What a phone refuses, as an answer over HTTP."""

from collections.abc import Generator
from contextlib import contextmanager

from cloudphone_shared.contracts.phone import PhoneRefuses
from cloudphone_shared.errors import Unavailable

from ..adb import PhoneRefused


@contextmanager
def answered() -> Generator[None]:
    """Raises PhoneRefuses for what the phone will not do, Unavailable while it knows nobody."""
    try:
        yield
    except PhoneRefused as refused:
        if refused.code == "unauthorized":
            raise Unavailable("phone", refused.detail, retry_after=5.0) from None
        raise PhoneRefuses(refused.detail, reason=refused.code) from None
