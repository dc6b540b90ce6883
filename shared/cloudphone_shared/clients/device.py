"""Asking the device service."""

from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import MOST_IDS, Many, Page
from ..contracts.device import (
    Device,
    DeviceAssign,
    DeviceCreate,
    DevicePatch,
    DeviceRun,
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
from ..contracts.operation import Batch, BatchCreate, Command, Operation
from ..contracts.phone import (
    Grant,
    GrantCreate,
    InputCreate,
    MirrorCreate,
    Mirrored,
    PhoneFile,
    ReconcileReport,
    RestoreCreate,
    Snapshot,
    SnapshotCreate,
    Vitals,
)
from ..http.client import ServiceClient, joined, path_of
from ..http.streams import Flow
from .listing import Listing


class DeviceClient:
    """`live` asks the same service for what a phone itself must answer: that is slower, and a phone that is away must
    keep nobody from what the service knows by itself."""

    def __init__(self, http: ServiceClient, live: ServiceClient) -> None:
        self.http = http
        self.live = live

    async def close(self) -> None:
        await self.http.close()
        await self.live.close()

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

    async def runs(self, run_ids: Sequence[UUID]) -> Many[DeviceRun]:
        """By run id; absent are those that no device remembers."""
        return await self.http.get("/v1/device-runs", Many[DeviceRun], params={"ids": joined(run_ids)})

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

    async def delete(self, device_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> Operation | None:
        """None for one that is gone already, having had nothing to be removed."""
        path = path_of("/v1/devices/{}", device_id)
        return await self.http.send("DELETE", path, Operation | None, bearer=bearer, if_match=if_match)  # pyright: ignore

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

    async def command(
        self,
        device_id: UUID,
        command: Command,
        bearer: Bearer,
        *,
        force: bool = False,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> Operation:
        """What is done about it is an operation. Raises StateConflict, which names what the state would allow."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/{}", device_id, command), Operation, {"force": True} if force else None,
            bearer=bearer, idempotency_key=idempotency_key, if_match=if_match,
        )  # fmt: skip

    async def batch(self, batch: BatchCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Batch:
        return await self.http.send(
            "POST", "/v1/devices/batch", Batch, batch, bearer=bearer, idempotency_key=idempotency_key
        )

    async def operation_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Operation]:
        """Latest first. Filters: `deviceId`, `kind`, `state`, `batchId`."""
        return await self.http.get("/v1/operations", Page[Operation], params=listing.params(), bearer=bearer)

    async def operation(self, operation_id: UUID | str, *, bearer: Bearer | None = None) -> Operation:
        return await self.http.get(path_of("/v1/operations/{}", operation_id), Operation, bearer=bearer)

    async def cancel_operation(self, operation_id: UUID, bearer: Bearer) -> Operation:
        """It ends at its next step. Raises StateConflict for one that has ended."""
        return await self.http.send("POST", path_of("/v1/operations/{}/cancel", operation_id), Operation, bearer=bearer)

    async def operations(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> list[Operation]:
        """The last 50 of a device, latest first. Depends on `operations:<deviceId>`."""
        return await self.http.get(path_of("/v1/devices/{}/operations", device_id), list[Operation], bearer=bearer)

    async def present_operation(self, device_id: UUID | str) -> Operation | None:
        """The operation that waits or runs, the oldest of several; None: there is none. Depends on
        `operations:<deviceId>`."""
        return await self.http.get(path_of("/v1/devices/{}/operation", device_id), Operation | None)  # pyright: ignore

    async def present_operations(self, device_ids: Sequence[UUID | str]) -> Many[Operation | None]:
        """As `present_operation`, of several devices."""
        return await self.http.get("/v1/devices/operations", Many[Operation | None], params={"ids": joined(device_ids)})

    async def snapshots(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> list[Snapshot]:
        return await self.http.get(path_of("/v1/devices/{}/snapshots", device_id), list[Snapshot], bearer=bearer)

    async def create_snapshot(
        self, device_id: UUID, snapshot: SnapshotCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Operation:
        """Raises StateConflict unless the device is stopped."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/snapshots", device_id), Operation, snapshot,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def delete_snapshot(self, snapshot_id: UUID, bearer: Bearer) -> Operation:
        return await self.http.send("DELETE", path_of("/v1/snapshots/{}", snapshot_id), Operation, bearer=bearer)

    async def restore(
        self, device_id: UUID, restore: RestoreCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Operation:
        """Raises StateConflict unless the device is stopped and the snapshot its own and ready."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/restore", device_id), Operation, restore,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def screenshot(self, device_id: UUID, bearer: Bearer) -> bytes:
        """A PNG. Raises StateConflict unless the device is running."""
        path = path_of("/v1/devices/{}/screenshot", device_id)
        return await self.live.octets(path, bearer=bearer, accept="image/png")

    async def input(self, device_id: UUID, events: InputCreate, bearer: Bearer) -> None:
        await self.live.send("POST", path_of("/v1/devices/{}/input", device_id), type(None), events, bearer=bearer)

    async def mirror(self, events: MirrorCreate, bearer: Bearer) -> Mirrored:
        return await self.live.send("POST", "/v1/devices/input", Mirrored, events, bearer=bearer)

    async def vitals(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> Vitals:
        return await self.live.get(path_of("/v1/devices/{}/vitals", device_id), Vitals, bearer=bearer)

    async def vitals_of(self, device_ids: Sequence[UUID | str]) -> Many[Vitals]:
        """Under no version: they change without announcement."""
        return await self.live.get("/v1/devices/vitals", Many[Vitals], params={"ids": joined(device_ids)})

    async def files(self, device_id: UUID, path: str, bearer: Bearer) -> list[PhoneFile]:
        """What is in a folder below /sdcard."""
        return await self.live.get(
            path_of("/v1/devices/{}/files", device_id), list[PhoneFile], params={"path": path}, bearer=bearer
        )

    def pull(self, device_id: UUID, path: str, bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        """A file's octets."""
        return self.live.flow(
            "GET", path_of("/v1/devices/{}/files/content", device_id), params={"path": path}, bearer=bearer
        )

    async def push(
        self, device_id: UUID, path: str, content: AsyncIterable[bytes], length: int | None, bearer: Bearer
    ) -> None:
        """Writes a file, in the place of one that was there. `length` in bytes where it is known beforehand."""
        headers = {"Content-Type": "application/octet-stream"}
        if length is not None:
            headers["Content-Length"] = str(length)
        where = path_of("/v1/devices/{}/files/content", device_id)
        async with self.live.flow("PUT", where, params={"path": path}, body=content, headers=headers, bearer=bearer):
            pass

    async def grants(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> list[Grant]:
        """Those in force, latest first. Depends on `grants:<deviceId>`."""
        return await self.http.get(path_of("/v1/devices/{}/grants", device_id), list[Grant], bearer=bearer)

    async def grants_of(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> list[Grant]:
        """Those in force that a user has been given, latest first. Depends on `grants-of:<userId>`."""
        return await self.http.get(path_of("/v1/users/{}/grants", user_id), list[Grant], bearer=bearer)

    async def grant(self, device_id: UUID | str, user_id: UUID | str, *, bearer: Bearer | None = None) -> Grant:
        """The user's grant of the device. Depends on `grants:<deviceId>`; raises NotFound once it has ended."""
        return await self.http.get(path_of("/v1/devices/{}/grants/{}", device_id, user_id), Grant, bearer=bearer)

    async def create_grant(
        self, device_id: UUID, grant: GrantCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Grant:
        """Raises AlreadyExists while the user has one of this device."""
        return await self.http.send(
            "POST", path_of("/v1/devices/{}/grants", device_id), Grant, grant,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def revoke_grant(self, grant_id: UUID, bearer: Bearer) -> None:
        await self.http.send("DELETE", path_of("/v1/grants/{}", grant_id), type(None), bearer=bearer)

    async def reconcile_reports(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[ReconcileReport]:
        """Latest first."""
        params = listing.params()
        return await self.http.get("/v1/reconcile-reports", Page[ReconcileReport], params=params, bearer=bearer)

    async def reconcile_report(self, report_id: UUID, *, bearer: Bearer | None = None) -> ReconcileReport:
        return await self.http.get(path_of("/v1/reconcile-reports/{}", report_id), ReconcileReport, bearer=bearer)

    async def reconcile(self, bearer: Bearer) -> ReconcileReport:
        """Begins a comparison of containers with rows."""
        return await self.http.send("POST", "/v1/reconcile-reports", ReconcileReport, bearer=bearer)
