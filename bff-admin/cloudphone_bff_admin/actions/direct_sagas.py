"""A purchase on its way, pushed on or given up."""

from uuid import UUID

from litestar import post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.purchase import SagaCancel, SagaFull
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("sagas:manage")]


@post(
    "/admin/sagas/{saga_id:uuid}/resume",
    status_code=200,
    tags=["sagas"],
    guards=_GUARDS,
    responses=problems(404, 409),
)
async def resume_saga(saga_id: FromPath[UUID], core: Core, caller: Who) -> SagaFull:
    """Tries its present step at once, whatever it waits for."""
    return await core.billing.sagas.resume(saga_id, passing_on(caller))


@post(
    "/admin/sagas/{saga_id:uuid}/cancel",
    status_code=200,
    tags=["sagas"],
    guards=_GUARDS,
    responses=problems(404, 409, 413, 415),
)
async def cancel_saga(saga_id: FromPath[UUID], data: JSONBody[SagaCancel], core: Core, caller: Who) -> SagaFull:
    """Undoes what was done, as long as the payment was not taken."""
    return await core.billing.sagas.cancel(saga_id, data, passing_on(caller))


SAGA_DIRECTING = [resume_saga, cancel_saga]
