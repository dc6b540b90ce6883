"""Asking the device service."""

from collections.abc import Sequence
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import MOST_IDS, Many, Page
from ..contracts.device import (
    Device,
    DeviceAssign,
    DeviceCreate,
    DevicePatch,
    DevicesHeld,
    DeviceStatistics,
    DeviceSummary,
    Node,
    NodeCreate,
    NodePatch,
    StateChange,
    Template,
    TemplateCreate,
    TemplatePatch,
)
from ..http.client import ServiceClient, joined, path_of
from .listing import Listing


class DeviceClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def get(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> Device:
        return await self.http.get(path_of("/v1/devices/{}", device_id), Device, bearer=bearer)

    async def get_many(self, device_ids: Sequence[UUID | str], *, bearer: Bearer | None = None) -> Many[DeviceSummary]:
        return await self.http.get(
            "/v1/devices/batch", Many[DeviceSummary], params={"ids": joined(device_ids)}, bearer=bearer
        )

    async def get_many_full(self, device_ids: Sequence[UUID | str]) -> Many[Device]:
        return await self.http.get("/v1/devices/batch/full", Many[Device], params={"ids": joined(device_ids)})

    async def held_by(self, user_ids: Sequence[UUID | str], most: int) -> Many[DevicesHeld]:
        """Of each user the first `most` devices by name (1–100), with how many there are."""
        params = {"ids": joined(user_ids), "limit": most}
        return await self.http.get("/v1/users/devices/batch", Many[DevicesHeld], params=params)

    async def first_held_by(self, user_ids: Sequence[UUID], most: int) -> dict[UUID, list[UUID]]:
        """The ids of `held_by`, of any number of users: a call for every hundred."""
        first: dict[UUID, list[UUID]] = {}
        for start in range(0, len(user_ids), MOST_IDS):
            held = await self.held_by(user_ids[start : start + MOST_IDS], most)
            first |= {UUID(user): [each.id for each in answer.data.items] for user, answer in held.found.items()}
        return first

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[UUID]:
        """The page's ids only: cards come from the cache. Filters: `state`, `ownerId`, `nodeId`, `tag`, `tenantId`,
        `assigned` (true|false)."""
        return await self.http.get("/v1/devices", Page[UUID], params=listing.params(), bearer=bearer)

    async def of_user(self, user_id: UUID | str) -> list[UUID]:
        """The ids of the devices that a user holds, by name; at most 1,000. Depends on `devices-of:<userId>`."""
        return await self.http.get(path_of("/v1/users/{}/devices", user_id), list[UUID])

    async def history(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> list[StateChange]:
        """The last 50 changes of state, latest first."""
        return await self.http.get(path_of("/v1/devices/{}/history", device_id), list[StateChange], bearer=bearer)

    async def statistics(self, *, bearer: Bearer | None = None) -> DeviceStatistics:
        return await self.http.get("/v1/devices/statistics", DeviceStatistics, bearer=bearer)

    async def create(self, device: DeviceCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Device:
        return await self.http.send(
            "POST", "/v1/devices", Device, device, bearer=bearer, idempotency_key=idempotency_key
        )

    async def change(
        self, device_id: UUID, patch: DevicePatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Device:
        return await self.http.send(
            "PATCH", path_of("/v1/devices/{}", device_id), Device, patch, bearer=bearer, if_match=if_match
        )

    async def assign(
        self,
        device_id: UUID,
        owner: DeviceAssign,
        bearer: Bearer,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> Device:
        """Raises StateConflict unless the device is idle."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/assign", device_id), Device, owner,
            bearer=bearer, idempotency_key=idempotency_key, if_match=if_match,
        )  # fmt: skip

    async def unassign(self, device_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> Device:
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/unassign", device_id), Device, bearer=bearer, if_match=if_match
        )

    async def enter_maintenance(self, device_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> Device:
        """Raises StateConflict unless the device is idle."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/maintenance", device_id), Device, bearer=bearer, if_match=if_match
        )

    async def leave_maintenance(self, device_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> Device:
        """Raises StateConflict unless the device is in maintenance."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/idle", device_id), Device, bearer=bearer, if_match=if_match
        )

    async def delete(self, device_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> None:
        await self.http.send(
            "DELETE", path_of("/v1/devices/{}", device_id), type(None), bearer=bearer, if_match=if_match
        )

    async def node_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Node]:
        """Filters: `status`, `region`. Depends on `nodes:all` and each node."""
        return await self.http.get("/v1/nodes", Page[Node], params=listing.params(), bearer=bearer)

    async def node(self, node_id: UUID | str, *, bearer: Bearer | None = None) -> Node:
        return await self.http.get(path_of("/v1/nodes/{}", node_id), Node, bearer=bearer)

    async def create_node(self, node: NodeCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Node:
        return await self.http.send("POST", "/v1/nodes", Node, node, bearer=bearer, idempotency_key=idempotency_key)

    async def change_node(
        self, node_id: UUID, patch: NodePatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Node:
        return await self.http.send(
            "PATCH", path_of("/v1/nodes/{}", node_id), Node, patch, bearer=bearer, if_match=if_match
        )

    async def delete_node(self, node_id: UUID, bearer: Bearer) -> None:
        """Raises Conflict while devices stand on it."""
        await self.http.send("DELETE", path_of("/v1/nodes/{}", node_id), type(None), bearer=bearer)

    async def template_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Template]:
        """Filter: `androidVersion`. Depends on `templates:all` and each template."""
        return await self.http.get("/v1/templates", Page[Template], params=listing.params(), bearer=bearer)

    async def template(self, template_id: UUID | str, *, bearer: Bearer | None = None) -> Template:
        return await self.http.get(path_of("/v1/templates/{}", template_id), Template, bearer=bearer)

    async def create_template(
        self, template: TemplateCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Template:
        return await self.http.send(
            "POST", "/v1/templates", Template, template, bearer=bearer, idempotency_key=idempotency_key
        )

    async def change_template(
        self, template_id: UUID, patch: TemplatePatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Template:
        return await self.http.send(
            "PATCH", path_of("/v1/templates/{}", template_id), Template, patch, bearer=bearer, if_match=if_match
        )

    async def delete_template(self, template_id: UUID, bearer: Bearer) -> None:
        """Raises Conflict while devices are made from it."""
        await self.http.send("DELETE", path_of("/v1/templates/{}", template_id), type(None), bearer=bearer)
