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
