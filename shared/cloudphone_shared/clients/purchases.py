"""Asking the billing service about purchases: coupons, their sagas, and the subscriptions that they begin."""

from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.purchase import (
    Coupon,
    CouponCheck,
    CouponCreate,
    CouponPatch,
    PlanChange,
    PlanChangeQuote,
    Saga,
    SagaCancel,
    SagaFull,
    SagaTotals,
    Subscription,
    SubscriptionPatch,
)
from ..http.client import ServiceClient, path_of
from .listing import Listing


class CouponClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Coupon]:
        """Filters: `active`, `planId`."""
        return await self.http.get("/v1/coupons", Page[Coupon], params=listing.params(), bearer=bearer)

    async def one(self, coupon_id: UUID, *, bearer: Bearer | None = None) -> Coupon:
        return await self.http.get(path_of("/v1/coupons/{}", coupon_id), Coupon, bearer=bearer)

    async def create(self, coupon: CouponCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Coupon:
        return await self.http.send(
            "POST", "/v1/coupons", Coupon, coupon, bearer=bearer, idempotency_key=idempotency_key
        )

    async def change(
        self, coupon_id: UUID, patch: CouponPatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Coupon:
        path = path_of("/v1/coupons/{}", coupon_id)
        return await self.http.send("PATCH", path, Coupon, patch, bearer=bearer, if_match=if_match)

    async def check(self, code: str, plan_id: UUID, *, bearer: Bearer | None = None) -> CouponCheck:
        """What the plan would cost the caller with it. Raises NotFound, Conflict where it is not good for that."""
        params = {"code": code, "planId": plan_id}
        return await self.http.get("/v1/coupons/check", CouponCheck, params=params, bearer=bearer)


class SubscriptionClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Subscription]:
        """Filters: `userId`, `state`."""
        return await self.http.get("/v1/subscriptions", Page[Subscription], params=listing.params(), bearer=bearer)

    async def one(self, subscription_id: UUID, *, bearer: Bearer | None = None) -> Subscription:
        return await self.http.get(path_of("/v1/subscriptions/{}", subscription_id), Subscription, bearer=bearer)

    async def change(
        self, subscription_id: UUID, patch: SubscriptionPatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Subscription:
        path = path_of("/v1/subscriptions/{}", subscription_id)
        return await self.http.send("PATCH", path, Subscription, patch, bearer=bearer, if_match=if_match)

    async def renew(self, subscription_id: UUID, bearer: Bearer, *, idempotency_key: str | None = None) -> Subscription:
        """For a period more, from the wallet, once its period is over. Raises InsufficientFunds, StateConflict before
        that and once it has ended."""
        return await self.http.send(
            "POST", path_of("/v1/subscriptions/{}/renew", subscription_id), Subscription,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def cancel(self, subscription_id: UUID, bearer: Bearer, *, if_match: str | None = None) -> Subscription:
        """At its period's end."""
        path = path_of("/v1/subscriptions/{}/cancel", subscription_id)
        return await self.http.send("POST", path, Subscription, bearer=bearer, if_match=if_match)

    async def quote(self, subscription_id: UUID, plan_id: UUID, *, bearer: Bearer | None = None) -> PlanChangeQuote:
        """What going over to the plan would cost now. Raises Conflict for a plan of another currency or period."""
        path = path_of("/v1/subscriptions/{}/plan-change", subscription_id)
        return await self.http.get(path, PlanChangeQuote, params={"planId": plan_id}, bearer=bearer)

    async def change_plan(
        self,
        subscription_id: UUID,
        change: PlanChange,
        bearer: Bearer,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> Subscription:
        """Raises InsufficientFunds, and as `quote`."""
        return await self.http.send(
            "POST", path_of("/v1/subscriptions/{}/plan-change", subscription_id), Subscription, change,
            bearer=bearer, idempotency_key=idempotency_key, if_match=if_match,
        )  # fmt: skip


class SagaClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Saga]:
        """Newest first. Filters: `state`, `userId`, `alarmed`."""
        return await self.http.get("/v1/sagas", Page[Saga], params=listing.params(), bearer=bearer)

    async def totals(self, *, bearer: Bearer | None = None) -> SagaTotals:
        return await self.http.get("/v1/sagas/totals", SagaTotals, bearer=bearer)

    async def one(self, saga_id: UUID | str, *, bearer: Bearer | None = None) -> SagaFull:
        return await self.http.get(path_of("/v1/sagas/{}", saga_id), SagaFull, bearer=bearer)

    async def resume(self, saga_id: UUID, bearer: Bearer | None = None) -> SagaFull:
        """Tries its step at once. Raises StateConflict for one that has ended."""
        return await self.http.send("POST", path_of("/v1/sagas/{}/resume", saga_id), SagaFull, bearer=bearer)

    async def cancel(self, saga_id: UUID, reason: SagaCancel, bearer: Bearer | None = None) -> SagaFull:
        """Raises StateConflict once the payment was captured."""
        return await self.http.send("POST", path_of("/v1/sagas/{}/cancel", saga_id), SagaFull, reason, bearer=bearer)
