"""Coupons: new ones, and their end."""

from uuid import UUID

from litestar import Response, patch, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.purchase import Coupon, CouponCreate, CouponPatch
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("plans:manage")]


@post("/admin/coupons", tags=["plans"], guards=_GUARDS, responses=problems(404, 409, 413, 415, 422))
async def create_coupon(
    data: JSONBody[CouponCreate], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[Coupon]:
    """Makes a coupon: a share, or an amount, off a plan's price."""
    coupon = await core.billing.coupons.create(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/coupons/{coupon.id}", coupon)


@patch(
    "/admin/coupons/{coupon_id:uuid}",
    tags=["plans"],
    guards=_GUARDS,
    responses=problems(404, 409, 412, 413, 415),
)
async def change_coupon(
    coupon_id: FromPath[UUID], data: JSONBody[CouponPatch], core: Core, caller: Who, if_match: IfMatch = None
) -> Coupon:
    """Ends a coupon, or begins it again, or sets until when it is good."""
    return await core.billing.coupons.change(coupon_id, data, passing_on(caller), if_match=if_match)


COUPON_EDITING = [create_coupon, change_coupon]
