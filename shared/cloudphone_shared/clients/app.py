"""Asking the app service."""

from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ..auth import Bearer
from ..contracts.app import (
    App,
    AppCreate,
    AppPatch,
    AppStatistics,
    AppVersion,
    AppVersionCreate,
    Category,
    Installation,
    InstallationBatch,
    InstallationBatchCreate,
    InstallationCreate,
    InstallationPatch,
    Review,
    ReviewWrite,
)
from ..contracts.common import Many, Page
from ..contracts.upload import Upload, UploadPublish
from ..http.client import ServiceClient, joined, path_of
from ..http.streams import Flow
from .listing import Listing


class AppClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def get(self, app_id: UUID | str, *, bearer: Bearer | None = None) -> App:
        return await self.http.get(path_of("/v1/apps/{}", app_id), App, bearer=bearer)

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[App]:
        """Filters: `category`, `published` (true|false)."""
        return await self.http.get("/v1/apps", Page[App], params=listing.params(), bearer=bearer)

    async def versions(self, app_id: UUID | str, *, bearer: Bearer | None = None) -> list[AppVersion]:
        """Newest first."""
        return await self.http.get(path_of("/v1/apps/{}/versions", app_id), list[AppVersion], bearer=bearer)

    async def installations(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> list[Installation]:
        """By app name; uninstalled and cancelled ones left out; at most 500."""
        return await self.http.get(
            path_of("/v1/devices/{}/installations", device_id), list[Installation], bearer=bearer
        )

    async def installations_of(self, device_ids: Sequence[UUID | str]) -> Many[list[Installation]]:
        """As `installations`, of several devices."""
        params = {"ids": joined(device_ids)}
        return await self.http.get("/v1/devices/installations", Many[list[Installation]], params=params)

    async def installation_counts(self, device_ids: Sequence[UUID | str]) -> Many[int]:
        """How many apps stand installed, per device."""
        return await self.http.get("/v1/devices/installation-counts", Many[int], params={"ids": joined(device_ids)})

    def download(self, url: str, offset: int = 0) -> AbstractAsyncContextManager[Flow]:
        """The bytes of an APK from `offset` on, with the service's own token; `url` as app.install.requested has it."""
        return self.http.flow("GET", url, headers={"Range": f"bytes={offset}-"} if offset else None)

    async def statistics(self, *, bearer: Bearer | None = None) -> AppStatistics:
        return await self.http.get("/v1/apps/statistics", AppStatistics, bearer=bearer)

    async def create(self, app: AppCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> App:
        return await self.http.send("POST", "/v1/apps", App, app, bearer=bearer, idempotency_key=idempotency_key)

    async def change(self, app_id: UUID, patch: AppPatch, bearer: Bearer, *, if_match: str | None = None) -> App:
        return await self.http.send(
            "PATCH", path_of("/v1/apps/{}", app_id), App, patch, bearer=bearer, if_match=if_match
        )

    async def delete(self, app_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> None:
        """Raises Conflict while it is installed somewhere."""
        await self.http.send("DELETE", path_of("/v1/apps/{}", app_id), type(None), bearer=bearer, if_match=if_match)

    async def add_version(
        self, app_id: UUID, version: AppVersionCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> AppVersion:
        return await self.http.send(
            "POST", path_of("/v1/apps/{}/versions", app_id), AppVersion, version,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def install(
        self, installation: InstallationCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Installation:
        """Raises AlreadyExists while a non-terminal installation of the package is on the device."""
        return await self.http.send(
            "POST", "/v1/installations", Installation, installation, bearer=bearer, idempotency_key=idempotency_key
        )

    async def install_on_many(
        self, batch: InstallationBatchCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> InstallationBatch:
        return await self.http.send(
            "POST", "/v1/installations/batch", InstallationBatch, batch, bearer=bearer, idempotency_key=idempotency_key
        )

    async def installation_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Installation]:
        """Filters: `deviceId`, `appId`, `appVersionId`, `state`."""
        return await self.http.get("/v1/installations", Page[Installation], params=listing.params(), bearer=bearer)

    async def installation(self, installation_id: UUID, *, bearer: Bearer | None = None) -> Installation:
        return await self.http.get(path_of("/v1/installations/{}", installation_id), Installation, bearer=bearer)

    async def cancel_installation(self, installation_id: UUID, bearer: Bearer) -> Installation:
        """It is given up at its next step. Raises StateConflict for one that is past that."""
        path = path_of("/v1/installations/{}/cancel", installation_id)
        return await self.http.send("POST", path, Installation, bearer=bearer)

    async def uninstall(self, installation_id: UUID, bearer: Bearer) -> Installation:
        """Raises StateConflict unless it is installed."""
        path = path_of("/v1/installations/{}/uninstall", installation_id)
        return await self.http.send("POST", path, Installation, bearer=bearer)

    async def retry_installation(
        self, installation_id: UUID, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Installation:
        """A new attempt, in a record of its own. Raises StateConflict unless it failed or was cancelled."""
        path = path_of("/v1/installations/{}/retry", installation_id)
        return await self.http.send("POST", path, Installation, bearer=bearer, idempotency_key=idempotency_key)

    async def change_installation(
        self, installation_id: UUID, patch: InstallationPatch, bearer: Bearer
    ) -> Installation:
        return await self.http.send(
            "PATCH", path_of("/v1/installations/{}", installation_id), Installation, patch, bearer=bearer
        )

    async def delete_installation(self, installation_id: UUID, bearer: Bearer) -> None:
        """Removes a terminal record. Raises StateConflict for another."""
        await self.http.send("DELETE", path_of("/v1/installations/{}", installation_id), type(None), bearer=bearer)

    async def categories(self, *, bearer: Bearer | None = None) -> list[Category]:
        return await self.http.get("/v1/apps/categories", list[Category], bearer=bearer)

    async def icon(self, app_id: UUID, bearer: Bearer) -> bytes:
        """A PNG or WebP picture. Raises NotFound for an app without one."""
        return await self.http.octets(path_of("/v1/apps/{}/icon", app_id), bearer=bearer, accept="image/*")

    async def publish(self, app_id: UUID, bearer: Bearer, *, published: bool) -> App:
        act = "publish" if published else "unpublish"
        return await self.http.send("POST", path_of("/v1/apps/{}/{}", app_id, act), App, bearer=bearer)

    async def publish_version(self, version_id: UUID, bearer: Bearer, *, published: bool) -> AppVersion:
        act = "publish" if published else "unpublish"
        path = path_of("/v1/app-versions/{}/{}", version_id, act)
        return await self.http.send("POST", path, AppVersion, bearer=bearer)

    async def reviews(self, app_id: UUID, listing: Listing, *, bearer: Bearer | None = None) -> Page[Review]:
        return await self.http.get(
            path_of("/v1/apps/{}/reviews", app_id), Page[Review], params=listing.params(), bearer=bearer
        )

    async def write_review(self, app_id: UUID, review: ReviewWrite, bearer: Bearer) -> Review:
        """In the place of the caller's earlier one."""
        return await self.http.send("POST", path_of("/v1/apps/{}/reviews", app_id), Review, review, bearer=bearer)

    async def delete_review(self, review_id: UUID, bearer: Bearer) -> None:
        await self.http.send("DELETE", path_of("/v1/reviews/{}", review_id), type(None), bearer=bearer)

    async def upload(self, upload_id: UUID, *, bearer: Bearer | None = None) -> Upload:
        return await self.http.get(path_of("/v1/uploads/{}", upload_id), Upload, bearer=bearer)

    def tus(
        self,
        method: str,
        upload_id: UUID | None,
        headers: Mapping[str, str],
        bearer: Bearer,
        body: AsyncIterable[bytes] | None = None,
    ) -> AbstractAsyncContextManager[Flow]:
        """A request of the tus protocol, passed on as it is; without an id it is to begin an upload."""
        path = "/v1/uploads" if upload_id is None else path_of("/v1/uploads/{}", upload_id)
        return self.http.flow(method, path, body=body, headers=headers, bearer=bearer)

    async def publish_upload(
        self, upload_id: UUID, publish: UploadPublish, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> AppVersion:
        """Raises StateConflict unless it has arrived and was found good."""
        return await self.http.send(
            "POST", path_of("/v1/uploads/{}/publish", upload_id), AppVersion, publish,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip
