"""Asking the billing service about payments, refunds and disputes."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.payment import (
    Dispute,
    Payment,
    PaymentReconciliation,
    PaymentSummary,
    RechargeCreate,
    ReconcilePayments,
    Refund,
    WebhookDelivery,
)
from ..contracts.purchase import OrderRefund
from ..http.client import ServiceClient, path_of
from ..http.streams import Flow
from .listing import Listing


class PaymentClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def recharge(
        self, recharge: RechargeCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Payment:
        """The customer pays at its `checkout_url`."""
        return await self.http.send(
            "POST", "/v1/recharges", Payment, recharge, bearer=bearer, idempotency_key=idempotency_key
        )

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[PaymentSummary]:
        """Newest first. Filters: `state`, `userId`, `purpose`, `method`, `orderId`."""
        return await self.http.get("/v1/payments", Page[PaymentSummary], params=listing.params(), bearer=bearer)

    async def one(self, payment_id: UUID | str, *, bearer: Bearer | None = None) -> Payment:
        """Depends on `payment:<id>`."""
        return await self.http.get(path_of("/v1/payments/{}", payment_id), Payment, bearer=bearer)

    async def refund(
        self, payment_id: UUID, wanted: OrderRefund, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Refund:
        """Of a recharge. Raises Conflict for more than is left of it."""
        return await self.http.send(
            "POST", path_of("/v1/payments/{}/refund", payment_id), Refund, wanted,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def refunds(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Refund]:
        """Newest first. Filters: `state`, `userId`, `orderId`, `paymentId`."""
        return await self.http.get("/v1/refunds", Page[Refund], params=listing.params(), bearer=bearer)

    async def disputes(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Dispute]:
        return await self.http.get("/v1/disputes", Page[Dispute], params=listing.params(), bearer=bearer)

    async def deliveries(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[WebhookDelivery]:
        """What providers told us, latest first. Filter: `outcome`."""
        return await self.http.get(
            "/v1/webhook-deliveries", Page[WebhookDelivery], params=listing.params(), bearer=bearer
        )

    async def reconciliations(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[PaymentReconciliation]:
        return await self.http.get(
            "/v1/payment-reconciliations", Page[PaymentReconciliation], params=listing.params(), bearer=bearer
        )

    async def reconciliation(self, report_id: UUID, *, bearer: Bearer | None = None) -> PaymentReconciliation:
        path = path_of("/v1/payment-reconciliations/{}", report_id)
        return await self.http.get(path, PaymentReconciliation, bearer=bearer)

    def reconciliation_table(self, report_id: UUID, bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        """Its differences as CSV."""
        path = path_of("/v1/payment-reconciliations/{}", report_id)
        return self.http.flow("GET", path, params={"format": "csv"}, bearer=bearer)

    async def reconcile(self, wanted: ReconcilePayments, bearer: Bearer) -> PaymentReconciliation:
        return await self.http.send("POST", "/v1/payment-reconciliations", PaymentReconciliation, wanted, bearer=bearer)
