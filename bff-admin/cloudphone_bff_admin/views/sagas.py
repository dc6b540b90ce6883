"""Purchases on their way, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.purchase import Saga, SagaFull, SagaState, SagaTotals
from cloudphone_shared.http.handling import Asked, Core, OfUser, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("sagas:read")


@get(
    "/admin/sagas",
    tags=["sagas"],
    guards=[_READ, only_parameters("state", "userId", "alarmed")],
    responses=problems(),
)
async def list_sagas(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: Annotated[SagaState | None, QueryParameter(name="state")] = None,
    user_id: OfUser = None,
    alarmed: Annotated[bool | None, QueryParameter()] = None,
) -> Page[Saga]:
    """Sagas, newest first."""
    listing = asked.listing(state=present_state, userId=user_id, alarmed=alarmed)
    return await core.billing.sagas.page(listing, bearer=passing_on(caller))


@get("/admin/sagas/totals", tags=["sagas"], guards=[_READ], responses=problems())
async def show_saga_totals(core: Core, caller: Who) -> SagaTotals:
    """How many are in which state, and how many want an operator."""
    return await core.billing.sagas.totals(bearer=passing_on(caller))


@get("/admin/sagas/{saga_id:uuid}", tags=["sagas"], guards=[_READ], responses=problems(404))
async def show_saga(saga_id: FromPath[UUID], core: Core, caller: Who) -> SagaFull:
    """A saga with its time line."""
    return await core.billing.sagas.one(saga_id, bearer=passing_on(caller))


SAGAS = [list_sagas, show_saga_totals, show_saga]
