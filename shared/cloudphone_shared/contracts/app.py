"""What the app service answers and accepts: the catalogue, versions, installations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Name, Request, Text
from .operation import OperationError

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
    """`app_name` comes from the app's own row, so a list of installations depends on each app it shows.

    `progress` in percent of what is being done. `error` is a sentence. `retry_of`: the attempt that this one repeats;
    `replaces`: the lower version whose place it takes, which then has it as `replaced_by`. `user_id`: who held the
    device when it was asked for.
    """

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
    progress: int = 0
    error_code: str | None = None
    error: str | None = None
    user_id: UUID | None = None
    retry_of: UUID | None = None
    replaces: UUID | None = None
    replaced_by: UUID | None = None
    cancel_requested_at: datetime | None = None


class InstallationCreate(Request, frozen=True, kw_only=True):
    device_id: UUID
    app_version_id: UUID


class InstallationBatchCreate(Request, frozen=True, kw_only=True):
    """The same version for many devices; each is accepted or refused by itself."""

    app_version_id: UUID
    device_ids: Annotated[list[UUID], Meta(min_length=1, max_length=500)]


class InstallationItem(Contract, frozen=True, kw_only=True):
    """Either the device's installation, or why there is none."""

    device_id: UUID
    installation: Installation | None = None
    problem: OperationError | None = None


class InstallationBatch(Contract, frozen=True, kw_only=True):
    """In the order that the devices were named; one that is named twice appears once."""

    items: list[InstallationItem]


class InstallationPatch(Request, frozen=True, kw_only=True):
    """For a customer: `cancelled` and `uninstalling` ask for it. For who manages apps: the record is put right, by
    transitions of the table."""

    state: InstallationState


class AppStatistics(Contract, frozen=True, kw_only=True):
    apps: int
    published: int
    installations: int
