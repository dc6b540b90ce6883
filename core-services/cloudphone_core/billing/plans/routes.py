"""Plans and coupons over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.billing import Plan, PlanCreate, PlanPatch, PlanRevise, PlanRevision
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.purchase import Coupon, CouponCheck, CouponCreate, CouponPatch
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from ..handling import IfMatch, Key, Stand, Who, created, once, own_id, tagged, with_versions
from . import coupons, queries, reads, service

PlanId = Annotated[UUID, QueryParameter(name="planId")]
ForPlan = Annotated[UUID | None, QueryParameter(name="planId")]
Code = Annotated[str, QueryParameter(name="code", max_length=40, pattern=r"^[A-Z0-9][A-Z0-9_-]{2,}$")]


@get("/v1/plans", guards=[requires("plans:read"), only_parameters("active")])
async def list_plans(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery], active: FromQuery[bool | None] = None
) -> Answer[Page[Plan]]:
    async with billing.database.reading() as session:
        return await queries.plan_page(session, caller, asked, billing.cursors, active=active)


@get("/v1/plans/batch", guards=[requires("plans:read")])
async def plans_batch(billing: Stand, ids: Ids) -> Answer[Many[Plan]]:
    return await reads.plans(billing.database, parse_ids(ids))


@post("/v1/plans", guards=[requires("plans:manage")])
async def create_plan(
    request: Request[Any, Any, Any], data: JSONBody[PlanCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        plan_id, announced = await service.create_plan(session, caller, data, billing.now())
        return created(f"/v1/plans/{plan_id}", with_versions(announced, await queries.plan(session, plan_id)))

    return await once(request, billing, caller, key, make)


@get("/v1/plans/{plan_id:uuid}", guards=[requires("plans:read")])
async def get_plan(plan_id: FromPath[UUID], billing: Stand) -> Response[Answer[Plan]]:
    return tagged(await reads.plan(billing.database, plan_id))


@patch("/v1/plans/{plan_id:uuid}", guards=[requires("plans:manage")])
async def change_plan(
    plan_id: FromPath[UUID], data: JSONBody[PlanPatch], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Plan]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        await service.change_plan(session, caller, plan_id, data, expected=expected)
        return tagged(await queries.plan(session, plan_id))


@delete("/v1/plans/{plan_id:uuid}", guards=[requires("plans:manage")], status_code=200)
async def delete_plan(plan_id: FromPath[UUID], billing: Stand, caller: Who, if_match: IfMatch = None) -> Answer[None]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        return Answer(data=None, entities=await service.delete_plan(session, caller, plan_id, expected=expected))


@get("/v1/plans/{plan_id:uuid}/revisions", guards=[requires("plans:read")])
async def list_revisions(plan_id: FromPath[UUID], billing: Stand) -> Answer[list[PlanRevision]]:
    async with billing.database.reading() as session:
        return await queries.revisions(session, plan_id)


@post("/v1/plans/{plan_id:uuid}/revisions", guards=[requires("plans:manage")])
async def revise_plan(
    request: Request[Any, Any, Any],
    plan_id: FromPath[UUID],
    data: JSONBody[PlanRevise],
    billing: Stand,
    caller: Who,
    key: Key = None,
    if_match: IfMatch = None,
) -> Response[Any]:
    expected = expected_version(if_match)

    async def make(session: AsyncSession) -> Reply:
        await service.revise_plan(session, caller, plan_id, data, expected=expected, at=billing.now())
        return created(f"/v1/plans/{plan_id}", await queries.plan(session, plan_id))

    return await once(request, billing, caller, key, make)


@get("/v1/coupons", guards=[requires("plans:manage"), only_parameters("active", "planId")])
async def list_coupons(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    active: FromQuery[bool | None] = None,
    plan_id: ForPlan = None,
) -> Answer[Page[Coupon]]:
    service.sees_all_tenants(caller)
    async with billing.database.reading() as session:
        return await queries.coupon_page(session, asked, billing.cursors, active=active, plan_id=plan_id)


@get("/v1/coupons/check", guards=[requires("plans:read")])
async def check_coupon(billing: Stand, caller: Who, code: Code, plan_id: PlanId) -> Answer[CouponCheck]:
    async with billing.database.reading() as session:
        return await queries.check(session, code, plan_id, own_id(caller), billing.now())


@post("/v1/coupons", guards=[requires("plans:manage")])
async def create_coupon(
    request: Request[Any, Any, Any], data: JSONBody[CouponCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        coupon_id, announced = await coupons.create_coupon(session, caller, data, billing.now())
        return created(f"/v1/coupons/{coupon_id}", with_versions(announced, await queries.coupon(session, coupon_id)))

    return await once(request, billing, caller, key, make)


@get("/v1/coupons/{coupon_id:uuid}", guards=[requires("plans:manage")])
async def get_coupon(coupon_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[Coupon]]:
    service.sees_all_tenants(caller)
    async with billing.database.reading() as session:
        return tagged(await queries.coupon(session, coupon_id))


@patch("/v1/coupons/{coupon_id:uuid}", guards=[requires("plans:manage")])
async def change_coupon(
    coupon_id: FromPath[UUID], data: JSONBody[CouponPatch], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Coupon]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        await coupons.change_coupon(session, caller, coupon_id, data, expected=expected)
        return tagged(await queries.coupon(session, coupon_id))


PLANS: list[ControllerRouterHandler] = [
    list_plans, create_plan, plans_batch, get_plan, change_plan, delete_plan, list_revisions, revise_plan,
    list_coupons, check_coupon, create_coupon, get_coupon, change_coupon,
]  # fmt: skip
