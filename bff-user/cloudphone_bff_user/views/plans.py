"""What can be ordered, and for how much, from the billing service as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.contracts.purchase import CouponCheck
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems


@get("/plans", tags=["orders"], guards=[requires("plans:read"), only_parameters()], responses=problems())
async def list_plans(core: Core, caller: Who, asked: Asked) -> Page[Plan]:
    """Plans that can be ordered, by name unless sorted by `price` or `createdAt`; `-` before it descends."""
    return await core.billing.plan_page(asked.listing(active=True), bearer=passing_on(caller))


@get("/plans/check-coupon", tags=["orders"], guards=[requires("plans:read")], responses=problems(404, 409))
async def check_coupon(
    core: Core,
    caller: Who,
    code: Annotated[str, QueryParameter(min_length=3, max_length=40, pattern="^[A-Z0-9][A-Z0-9_-]*$")],
    plan_id: Annotated[UUID, QueryParameter(name="planId")],
) -> CouponCheck:
    """What a plan would cost the caller with a coupon."""
    return await core.billing.coupons.check(code, plan_id, bearer=passing_on(caller))
