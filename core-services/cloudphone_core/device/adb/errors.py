"""How talking to a phone fails."""

from cloudphone_shared.errors import Unavailable


class PhoneAway(Unavailable):
    """No answer, half an answer or nonsense: whatever was asked may have been done. It may be back soon."""

    def __init__(self, address: str, reason: str, *, retry_after: float = 2.0) -> None:
        super().__init__("phone", f"{address}: {reason}", retry_after=retry_after)


class AdbServerAway(PhoneAway):
    """It is the adb server that does not answer, so nothing is known of any phone."""


class PhoneRefused(Exception):
    """The phone understood and will not: `code` is its own word where it has one, such as INSTALL_FAILED_…"""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
