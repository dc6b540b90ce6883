"""What billing asks of others, in memory: quotas, and a scheduler with few devices."""

from typing import Any
from uuid import UUID, uuid4

import msgspec

from cloudphone_shared.contracts.quota import ReservationCreate
from cloudphone_shared.contracts.scheduler import AllocationConfirm
from cloudphone_shared.errors import QuotaExceeded, StateConflict, Unavailable
from cloudphone_shared.events.scheduler import (
    DeviceAllocateReplied,
    DeviceAllocateRequested,
    DeviceReleaseRequested,
)


class Allocation(msgspec.Struct):
    saga_id: UUID
    device_id: UUID
    allocation_id: UUID
    fencing_token: int
    live: bool = True
    confirmed: bool = False


class Elsewhere:
    """`away`: the next question gets no answer. As billing's clients, as far as purchases ask anything."""

    def __init__(self, devices: int, quota: int) -> None:
        self.reservations: dict[UUID, str] = {}
        self.allocations: dict[UUID, Allocation] = {}
        self.refused: set[UUID] = set()
        self.devices, self.quota = devices, quota
        self.away = False
        self.user = self.scheduler = self.identity = self

    async def token(self) -> str:
        return "token"

    async def reserve_quota(self, wanted: ReservationCreate) -> Any:
        self._there()
        state = self.reservations.get(wanted.id)
        if state == "released":
            raise StateConflict("It was released", current_state="released", allowed=[])
        if state is None and sum(each != "released" for each in self.reservations.values()) >= self.quota:
            raise QuotaExceeded(resource="devices", limit=self.quota, used=self.quota)
        self.reservations.setdefault(wanted.id, "held")

    async def release_quota(self, reservation_id: UUID) -> Any:
        self._there()
        self.reservations[reservation_id] = "released"

    async def commit_quota(self, reservation_id: UUID) -> Any:
        self._there()
        assert self.reservations[reservation_id] != "released", "what was given back is committed"
        self.reservations[reservation_id] = "committed"

    async def confirm(self, allocation_id: UUID | str, told: AllocationConfirm, bearer: Any = None) -> Any:
        self._there()
        found = next(each for each in self.allocations.values() if str(each.allocation_id) == str(allocation_id))
        assert found.live and found.fencing_token == told.fencing_token
        found.confirmed = True

    def reply(self, asked: DeviceAllocateRequested, *, willing: bool) -> DeviceAllocateReplied:
        """The same as before where it was asked before."""
        if asked.saga_id not in self.allocations and asked.saga_id not in self.refused:
            live = sum(each.live for each in self.allocations.values())
            if willing and live < self.devices:
                self.allocations[asked.saga_id] = Allocation(asked.saga_id, uuid4(), uuid4(), len(self.allocations) + 1)
            else:
                self.refused.add(asked.saga_id)
        found = self.allocations.get(asked.saga_id)
        given: dict[str, Any] = {"failure_reason": "no node has room"}
        if found:
            given = {
                "device_id": found.device_id, "allocation_id": found.allocation_id,
                "fencing_token": found.fencing_token,
            }  # fmt: skip
        return DeviceAllocateReplied(
            saga_id=asked.saga_id, tenant_id=asked.tenant_id, success=found is not None, **given
        )

    def release(self, told: DeviceReleaseRequested) -> None:
        for each in self.allocations.values():
            if each.allocation_id == told.allocation_id and each.fencing_token == told.fencing_token:
                each.live = False

    def _there(self) -> None:
        if self.away:
            self.away = False
            raise Unavailable("elsewhere", "told to")
