"""Whether a phone can run a version: its ABIs and its Android against what the APK asks for."""

import time
from collections.abc import Mapping
from uuid import UUID

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device, Template
from cloudphone_shared.errors import NotFound

from .checking import Refusal
from .models import AppVersionRow

SDKS: Mapping[str, int] = {
    "5": 21, "5.0": 21, "5.1": 22, "6": 23, "6.0": 23, "7": 24, "7.0": 24, "7.1": 25, "8": 26, "8.0": 26, "8.1": 27,
    "9": 28, "10": 29, "11": 30, "12": 31, "12.1": 32, "13": 33, "14": 34, "15": 35, "16": 36,
}  # fmt: skip
"""The API level of each Android version."""


REMEMBERED_SECONDS = 30.0
_MOST_REMEMBERED = 1000


class Templates:
    """The device service's templates, asked for once in a while: they hardly ever change."""

    def __init__(self, core: CoreClients) -> None:
        self._core = core
        self._known: dict[UUID, tuple[float, Template | None]] = {}

    async def of(self, device: Device) -> Template | None:
        """None when it is not there any longer. Raises Unavailable."""
        until, template = self._known.get(device.template.id, (0.0, None))
        if until > time.monotonic():
            return template
        try:
            template = await self._core.device.template(device.template.id)
        except NotFound:
            template = None
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[device.template.id] = (time.monotonic() + REMEMBERED_SECONDS, template)
        return template


def refused_by_phone(version: AppVersionRow, template: Template) -> Refusal | None:
    """An Android version that is not in the table is not held against the app: the phone itself will say."""
    if version.abis and not set(version.abis) & set(template.abis):
        its, ours = ", ".join(version.abis), ", ".join(template.abis)
        return Refusal("no-abi-fits", f"The app's native code is for {its}, and the phone runs {ours}")
    sdk = SDKS.get(template.android_version.removesuffix(".0"))
    if sdk is not None and version.min_sdk > sdk:
        detail = f"The app needs Android API level {version.min_sdk}, and the phone has {sdk}"
        return Refusal("android-too-old", detail)
    return None
