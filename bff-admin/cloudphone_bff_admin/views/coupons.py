"""Coupons, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.purchase import Coupon
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/coupons",
    tags=["plans"],
    guards=[staff("plans:manage"), only_parameters("active", "planId")],
    responses=problems(),
)
async def list_coupons(
    core: Core,
    caller: Who,
    asked: Asked,
    active: Annotated[bool | None, QueryParameter()] = None,
    plan_id: Annotated[UUID | None, QueryParameter(name="planId")] = None,
) -> Page[Coupon]:
    """Coupons, newest first."""
    return await core.billing.coupons.page(asked.listing(active=active, planId=plan_id), bearer=passing_on(caller))


@get("/admin/coupons/{coupon_id:uuid}", tags=["plans"], guards=[staff("plans:manage")], responses=problems(404))
async def show_coupon(coupon_id: FromPath[UUID], core: Core, caller: Who) -> Coupon:
    """A coupon, with how often it was used."""
    return await core.billing.coupons.one(coupon_id, bearer=passing_on(caller))


COUPONS = [list_coupons, show_coupon]
