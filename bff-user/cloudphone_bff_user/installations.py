"""An app on a device as its customer knows it."""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.app import Installation, InstallationState


class MyInstallation(Contract, frozen=True, kw_only=True):
    """`progress` in percent of what is being done; `error` says in words why it failed, `error_code` for programs.
    `replaces`: the lower version whose place it takes."""

    id: UUID
    device_id: UUID
    app_id: UUID
    app_version_id: UUID
    package_name: str
    app_name: str
    version_name: str
    state: InstallationState
    attempt: int
    progress: int
    error_code: str | None
    error: str | None
    replaces: UUID | None
    installed_at: datetime | None
    updated_at: datetime

    @staticmethod
    def of(installation: Installation) -> "MyInstallation":
        return msgspec.convert(installation, MyInstallation, from_attributes=True)

    @staticmethod
    def all_of(installations: list[Installation]) -> "list[MyInstallation]":
        return [MyInstallation.of(each) for each in installations]
