"""A run of a device, recorded."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import UsageRecord, UsageRecordCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/usage-records",
    tags=["usage"],
    guards=[staff("usage:record")],
    responses=problems(404, 409, 413, 415, 422),
)
async def record_usage(
    data: JSONBody[UsageRecordCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[UsageRecord]:
    """Records a run of a device; the same run again changes nothing."""
    record = await core.billing.record_usage(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/usage-records/{record.run_id}", record)
