"""The tables of app."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.contracts.upload import UploadState
from cloudphone_shared.database import base

SCHEMA = "app"
Base = base(SCHEMA)

UNDER_WAY = text("state IN ('pending', 'downloading', 'transferring', 'installing', 'verifying')")
STANDING = text("state IN ('installed', 'uninstalling')")
Purpose = Literal["install", "uninstall"]


class AppRow(Base):
    """`tenant_id` None: in every tenant's store. A deleted app stays for the records that show it.

    `rating` is `rating_sum` by `review_count`, 0 without reviews.
    """

    __tablename__ = "apps"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    package_name: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    category: Mapped[str]
    published: Mapped[bool]
    rating: Mapped[float] = mapped_column(Double, default=0.0, server_default=text("0"))
    rating_sum: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    review_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    icon_key: Mapped[str | None]
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
        Index(None, "rating", "id"),
        {"schema": SCHEMA},
    )


class AppVersionRow(Base):
    """Immutable but for `published`. `size` in bytes; `object_key` None: its file is not in the store."""

    __tablename__ = "app_versions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    app_id: Mapped[UUID] = mapped_column(ForeignKey(AppRow.id))
    version_code: Mapped[int]
    version_name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    abis: Mapped[list[str]]
    min_sdk: Mapped[int]
    size: Mapped[int]
    label: Mapped[str] = mapped_column(default="", server_default=text("''"))
    signers: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    permissions: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    object_key: Mapped[str | None]
    published: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("app_id", "version_code"),
        CheckConstraint("size > 0", name="size_positive"),
        {"schema": SCHEMA},
    )


class InstallationRow(Base):
    """`attempt` counts the installations of the package on the device.

    One of a package may be under way on a device, and one stand: the way to a higher version `replaces` it when it
    arrives. `purpose` is what the last work was for. Whoever has to answer has until `deadline_at`.
    """

    __tablename__ = "installations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    device_id: Mapped[UUID]
    app_id: Mapped[UUID] = mapped_column(ForeignKey(AppRow.id))
    app_version_id: Mapped[UUID] = mapped_column(ForeignKey(AppVersionRow.id), index=True)
    package_name: Mapped[str]
    state: Mapped[InstallationState] = mapped_column(String(20))
    attempt: Mapped[int]
    user_id: Mapped[UUID | None]
    requested_by: Mapped[str] = mapped_column(default="", server_default=text("''"))
    purpose: Mapped[Purpose] = mapped_column(String(20), default="install", server_default=text("'install'"))
    progress: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    retry_of: Mapped[UUID | None]
    replaces: Mapped[UUID | None]
    replaced_by: Mapped[UUID | None]
    cancel_requested_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    installed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_installations_underway", "device_id", "package_name", unique=True, postgresql_where=UNDER_WAY),
        Index("uq_installations_standing", "device_id", "package_name", unique=True, postgresql_where=STANDING),
        Index(None, "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")),
        Index(None, "device_id", "state"),
        Index(None, "app_id", "state"),
        Index(None, "tenant_id", "state"),
        {"schema": SCHEMA},
    )


class UploadRow(Base):
    """A file on its way: `received` of `length` bytes have been kept, in parts. `apk` is what was read from it.

    Who writes or checks it holds `lock_token` until `locked_until`; `tenant_id` None: for everybody's store.
    """

    __tablename__ = "uploads"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    created_by: Mapped[str]
    app_id: Mapped[UUID | None]
    filename: Mapped[str]
    length: Mapped[int]
    received: Mapped[int]
    wanted_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[UploadState] = mapped_column(String(20))
    code: Mapped[str | None]
    detail: Mapped[str | None]
    apk: Mapped[dict[str, Any] | None]
    icon_key: Mapped[str | None]
    app_version_id: Mapped[UUID | None]
    lock_token: Mapped[UUID | None]
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("received BETWEEN 0 AND length", name="received_within"),
        Index(None, "created_by", "created_at"),
        Index(None, "expires_at"),
        Index("ix_uploads_checking", "locked_until", postgresql_where=text("state = 'checking'")),
        {"schema": SCHEMA},
    )


class UploadPartRow(Base):
    """An object that holds the `size` bytes of an upload from `at` on."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[UUID] = mapped_column(ForeignKey(UploadRow.id, ondelete="CASCADE"), primary_key=True)
    at: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int]

    __table_args__ = ({"schema": SCHEMA},)


class ReviewRow(Base):
    """What one user says of an app; `rating` from 1 to 5."""

    __tablename__ = "reviews"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    app_id: Mapped[UUID] = mapped_column(ForeignKey(AppRow.id))
    user_id: Mapped[UUID]
    tenant_id: Mapped[UUID | None]
    rating: Mapped[int]
    text: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("app_id", "user_id"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating_in_range"),
        Index(None, "app_id", "updated_at", "id"),
        {"schema": SCHEMA},
    )
