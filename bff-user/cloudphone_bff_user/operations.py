"""Long work on a device as its customer knows it."""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.operation import Operation, OperationKind, OperationState


class MyOperation(Contract, frozen=True, kw_only=True):
    """`progress` in percent. `failure` is a code: what went wrong where a phone stands is for administrators."""

    id: UUID
    kind: OperationKind
    device_id: UUID
    state: OperationState
    progress: int
    failure: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @staticmethod
    def of(operation: Operation) -> "MyOperation":
        facts = msgspec.structs.asdict(operation)
        shown = {name: facts[name] for name in MyOperation.__struct_fields__ if name in facts}
        return MyOperation(**shown, failure=operation.error and operation.error.code)
