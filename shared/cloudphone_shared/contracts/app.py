"""What the app service answers and accepts: the catalogue, versions, installations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Name, Request, Text

InstallationState = Literal[
    "pending", "downloading", "transferring", "installing", "verifying", "installed",
    "uninstalling", "uninstalled", "failed", "cancelled",
]  # fmt: skip
Abi = Literal["arm64-v8a", "armeabi-v7a", "x86_64", "x86"]
PackageName = Annotated[str, Meta(max_length=200, pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$")]
Sha256 = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]{64}$")]

APP_SORTS = ("name", "packageName", "createdAt", "rating")
REVIEW_SORTS = ("updatedAt", "rating")


class App(Contract, frozen=True, kw_only=True):
    """`tenant_id` None: in every tenant's store. `rating` is the reviews' average, None without any; `icon`: whether
    it has a picture."""

    id: UUID
    tenant_id: UUID | None
    package_name: str
    name: str
    description: str
    category: str
    published: bool
    latest_version: str | None
    created_at: datetime
    updated_at: datetime
    version: int
    rating: float | None = None
    reviews: int = 0
    icon: bool = False


class Category(Contract, frozen=True, kw_only=True):
    name: str
    apps: int


class AppCreate(Request, frozen=True, kw_only=True):
    package_name: PackageName
    name: Name
    description: Text = ""
    category: Name = "other"
    published: bool = False


class AppPatch(Request, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    category: Name | UnsetType = UNSET
    published: bool | UnsetType = UNSET


class AppVersion(Contract, frozen=True, kw_only=True):
    """`size` in bytes. `available`: its APK is in the store, so that it can be installed. `signers`: SHA-256 of their
    certificates."""

    id: UUID
    app_id: UUID
    version_code: int
    version_name: str
    sha256: str
    abis: list[Abi]
    min_sdk: int
    size: int
    created_at: datetime
    label: str = ""
    permissions: list[str] = []
    signers: list[str] = []
    published: bool = True
    available: bool = False


class AppVersionCreate(Request, frozen=True, kw_only=True):
    version_code: Annotated[int, Meta(ge=1, le=2_100_000_000)]
    version_name: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")]
    sha256: Sha256
    abis: Annotated[list[Abi], Meta(max_length=4)] = []
    min_sdk: Annotated[int, Meta(ge=1, le=100)] = 21
    size: Annotated[int, Meta(ge=1, le=2**40)]


class Review(Contract, frozen=True, kw_only=True):
    """`rating` from 1 to 5."""

    id: UUID
    app_id: UUID
    user_id: UUID
    rating: int
    text: str
    created_at: datetime
    updated_at: datetime


class ReviewWrite(Request, frozen=True, kw_only=True):
    """One per user and app: a second one takes the first one's place."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    text: Text = ""


class Installation(Contract, frozen=True, kw_only=True):
    """`app_name` comes from the app's own row, so a list of installations depends on each app it shows."""

    id: UUID
    device_id: UUID
    app_id: UUID
    app_version_id: UUID
    package_name: str
    app_name: str
    version_name: str
    state: InstallationState
    attempt: int
    installed_at: datetime | None
    updated_at: datetime


class InstallationCreate(Request, frozen=True, kw_only=True):
    device_id: UUID
    app_version_id: UUID


class InstallationPatch(Request, frozen=True, kw_only=True):
    """A record's next state; only transitions of the table are accepted."""

    state: InstallationState


class AppStatistics(Contract, frozen=True, kw_only=True):
    apps: int
    published: int
    installations: int
