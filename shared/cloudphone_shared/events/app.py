"""What the app service announces."""

from typing import ClassVar
from uuid import UUID

from .envelope import Event


class AppChanged(Event, frozen=True, kw_only=True):
    """`changed` names the fields; "created", "deleted" and "versions" stand for the row and its versions."""

    type: ClassVar[str] = "app.changed"
    public: ClassVar[bool] = True
    app_id: UUID
    package_name: str
    changed: list[str]


class InstallationChanged(Event, frozen=True, kw_only=True):
    """`old_state` None: recorded just now; `new_state` None: its record is gone."""

    type: ClassVar[str] = "app.installation.changed"
    public: ClassVar[bool] = True
    installation_id: UUID
    device_id: UUID
    app_id: UUID
    old_state: str | None
    new_state: str | None
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    progress: int | None = None


class AppInstallRequested(Event, frozen=True, kw_only=True):
    """`url` of the APK, on the app service, for who may download apps. One installation has one answer per attempt."""

    type: ClassVar[str] = "app.install.requested"
    installation_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    app_version_id: UUID
    package_name: str
    version_code: int
    url: str
    sha256: str
    size: int
    abis: list[str]
    attempt: int


class AppInstallCancelled(Event, frozen=True, kw_only=True):
    """To be given up where it stands, unless it is past that."""

    type: ClassVar[str] = "app.install.cancelled"
    installation_id: UUID
    device_id: UUID
    tenant_id: UUID
    attempt: int


class AppUninstallRequested(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "app.uninstall.requested"
    installation_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    package_name: str
    attempt: int
