"""Asking the billing service: plans, orders, running time, arrears, and by area all else."""

from collections.abc import Sequence
from uuid import UUID

from ..auth import Bearer
from ..contracts.billing import (
    Arrears,
    ArrearsSet,
    BillingStatistics,
    DeviceUsage,
    Order,
    OrderCancel,
    OrderCreate,
    OrderSummary,
    Plan,
    PlanCreate,
    PlanPatch,
    PlanRevise,
    PlanRevision,
    UsageDay,
    UsageRecord,
    UsageRecordCreate,
    UserUsage,
)
from ..contracts.common import Many, Page
from ..contracts.purchase import OrderRefund
from ..http.client import ServiceClient, joined, path_of
from .invoices import InvoiceClient
from .ledger import LedgerClient
from .listing import Listing
from .payments import PaymentClient
from .purchases import CouponClient, SagaClient, SubscriptionClient
from .rating import RatingClient


class BillingClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http
        self.coupons = CouponClient(http)
        self.subscriptions = SubscriptionClient(http)
        self.sagas = SagaClient(http)
        self.ledger = LedgerClient(http)
        self.payments = PaymentClient(http)
        self.rating = RatingClient(http)
        self.invoices = InvoiceClient(http)

    async def plan_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Plan]:
        """Filter: `active` (true|false); customers are shown active ones only. Depends on `plans:all` and each plan."""
        return await self.http.get("/v1/plans", Page[Plan], params=listing.params(), bearer=bearer)

    async def plan(self, plan_id: UUID | str, *, bearer: Bearer | None = None) -> Plan:
        return await self.http.get(path_of("/v1/plans/{}", plan_id), Plan, bearer=bearer)

    async def plans_of(self, plan_ids: Sequence[UUID | str]) -> Many[Plan]:
        return await self.http.get("/v1/plans/batch", Many[Plan], params={"ids": joined(plan_ids)})

    async def order(self, order_id: UUID | str, *, bearer: Bearer | None = None) -> Order:
        return await self.http.get(path_of("/v1/orders/{}", order_id), Order, bearer=bearer)

    async def orders(self, order_ids: Sequence[UUID | str], *, bearer: Bearer | None = None) -> Many[OrderSummary]:
        return await self.http.get(
            "/v1/orders/batch", Many[OrderSummary], params={"ids": joined(order_ids)}, bearer=bearer
        )

    async def order_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[UUID]:
        """The page's ids only. Filters: `state`, `userId`, `deviceId`, `planId`, `tenantId`."""
        return await self.http.get("/v1/orders", Page[UUID], params=listing.params(), bearer=bearer)

    async def orders_of(self, user_id: UUID | str) -> list[OrderSummary]:
        """The user's latest 50 orders, latest first. Depends on `orders-of:<userId>` and each order."""
        return await self.http.get(path_of("/v1/users/{}/orders", user_id), list[OrderSummary])

    async def usage(self, device_id: UUID | str, *, bearer: Bearer | None = None) -> DeviceUsage:
        """The present period's; zeros for a device that never ran."""
        return await self.http.get(path_of("/v1/devices/{}/usage", device_id), DeviceUsage, bearer=bearer)

    async def latest_orders(self, user_ids: Sequence[UUID | str]) -> Many[list[OrderSummary]]:
        """As `orders_of`, of several users."""
        return await self.http.get("/v1/users/orders", Many[list[OrderSummary]], params={"ids": joined(user_ids)})

    async def usage_of_devices(self, device_ids: Sequence[UUID | str]) -> Many[DeviceUsage]:
        return await self.http.get("/v1/devices/usage", Many[DeviceUsage], params={"ids": joined(device_ids)})

    async def usage_of_users(self, user_ids: Sequence[UUID | str]) -> Many[UserUsage]:
        return await self.http.get("/v1/users/usage", Many[UserUsage], params={"ids": joined(user_ids)})

    async def usage_of_user(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> UserUsage:
        return await self.http.get(path_of("/v1/users/{}/usage", user_id), UserUsage, bearer=bearer)

    async def usage_days(self, user_id: UUID | str, *, days: int = 30, bearer: Bearer | None = None) -> list[UsageDay]:
        """The last `days` UTC days (1–366), oldest first, days without use included."""
        return await self.http.get(
            path_of("/v1/users/{}/usage/days", user_id), list[UsageDay], params={"days": days}, bearer=bearer
        )

    async def statistics(self, *, bearer: Bearer | None = None) -> BillingStatistics:
        return await self.http.get("/v1/billing/statistics", BillingStatistics, bearer=bearer)

    async def create_plan(self, plan: PlanCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Plan:
        return await self.http.send("POST", "/v1/plans", Plan, plan, bearer=bearer, idempotency_key=idempotency_key)

    async def change_plan(
        self, plan_id: UUID, patch: PlanPatch, bearer: Bearer, *, if_match: str | None = None
    ) -> Plan:
        return await self.http.send(
            "PATCH", path_of("/v1/plans/{}", plan_id), Plan, patch, bearer=bearer, if_match=if_match
        )

    async def plan_revisions(self, plan_id: UUID, *, bearer: Bearer | None = None) -> list[PlanRevision]:
        return await self.http.get(path_of("/v1/plans/{}/revisions", plan_id), list[PlanRevision], bearer=bearer)

    async def revise_plan(
        self, plan_id: UUID, revision: PlanRevise, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Plan:
        """The plan in its new version; orders keep the one that they were made at."""
        return await self.http.send(
            "POST", path_of("/v1/plans/{}/revisions", plan_id), Plan, revision,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def delete_plan(self, plan_id: UUID, bearer: Bearer) -> None:
        """Raises Conflict once it has been ordered."""
        await self.http.send("DELETE", path_of("/v1/plans/{}", plan_id), type(None), bearer=bearer)

    async def create_order(self, order: OrderCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> Order:
        """As far as its purchase came at once. Raises InsufficientFunds, QuotaExceeded, PaymentRefused, with `orderId`
        among their members."""
        return await self.http.send("POST", "/v1/orders", Order, order, bearer=bearer, idempotency_key=idempotency_key)

    async def cancel_order(
        self, order_id: UUID, reason: OrderCancel, bearer: Bearer, *, if_match: str | None = None
    ) -> Order:
        """Raises StateConflict unless the order is pending."""
        return await self.http.send(
            "POST", path_of("/v1/orders/{}/cancel", order_id), Order, reason, bearer=bearer, if_match=if_match
        )

    async def refund_order(
        self,
        order_id: UUID,
        wanted: OrderRefund,
        bearer: Bearer,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> Order:
        """Raises StateConflict unless it was paid, Conflict for more than is left of it."""
        return await self.http.send(
            "POST", path_of("/v1/orders/{}/refund", order_id), Order, wanted,
            bearer=bearer, idempotency_key=idempotency_key, if_match=if_match,
        )  # fmt: skip

    async def record_usage(
        self, record: UsageRecordCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> UsageRecord:
        """Raises Conflict when the interval overlaps another run of the device."""
        return await self.http.send(
            "POST", "/v1/usage-records", UsageRecord, record, bearer=bearer, idempotency_key=idempotency_key
        )

    async def arrears(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Arrears]:
        return await self.http.get("/v1/arrears", Page[Arrears], params=listing.params(), bearer=bearer)

    async def arrears_of(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> Arrears | None:
        """None for a user who owes nothing. Depends on `arrears:<userId>`."""
        return await self.http.get(path_of("/v1/users/{}/arrears", user_id), Arrears | None, bearer=bearer)  # pyright: ignore

    async def begin_arrears(self, user_id: UUID, arrears: ArrearsSet, bearer: Bearer) -> Arrears:
        """Freezes the user's devices; again, with another reason, it changes that alone."""
        return await self.http.send("PUT", path_of("/v1/users/{}/arrears", user_id), Arrears, arrears, bearer=bearer)

    async def end_arrears(self, user_id: UUID, bearer: Bearer) -> None:
        await self.http.send("DELETE", path_of("/v1/users/{}/arrears", user_id), type(None), bearer=bearer)
