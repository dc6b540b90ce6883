"""The tables of app."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.database import base

SCHEMA = "app"
Base = base(SCHEMA)

LIVE = text("state NOT IN ('uninstalled', 'failed', 'cancelled')")


class AppRow(Base):
    """`tenant_id` None: in every tenant's store. A deleted app stays for the records that show it."""

    __tablename__ = "apps"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    package_name: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    category: Mapped[str]
    published: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_apps_tenant_id_package_name",
            "tenant_id",
            "package_name",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(None, "name", "id"),
        Index(None, "package_name", "id"),
        Index(None, "created_at", "id"),
        Index(None, "category", "name", "id"),
        {"schema": SCHEMA},
    )


class AppVersionRow(Base):
    """Immutable. `size` in bytes."""

    __tablename__ = "app_versions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    app_id: Mapped[UUID] = mapped_column(ForeignKey(AppRow.id))
    version_code: Mapped[int]
    version_name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    abis: Mapped[list[str]]
    min_sdk: Mapped[int]
    size: Mapped[int]
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("app_id", "version_code"),
        CheckConstraint("size > 0", name="size_positive"),
        {"schema": SCHEMA},
    )


class InstallationRow(Base):
    """`attempt` counts the installations of the package on the device."""

    __tablename__ = "installations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    device_id: Mapped[UUID]
    app_id: Mapped[UUID] = mapped_column(ForeignKey(AppRow.id))
    app_version_id: Mapped[UUID] = mapped_column(ForeignKey(AppVersionRow.id), index=True)
    package_name: Mapped[str]
    state: Mapped[InstallationState] = mapped_column(String(20))
    attempt: Mapped[int]
    installed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_installations_live", "device_id", "package_name", unique=True, postgresql_where=LIVE),
        Index(None, "device_id", "state"),
        Index(None, "app_id", "state"),
        Index(None, "tenant_id", "state"),
        {"schema": SCHEMA},
    )
