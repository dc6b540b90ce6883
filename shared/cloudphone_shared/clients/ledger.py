"""Asking the billing service about accounts, transfers and wallets."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

from ..auth import Bearer
from ..contracts.billing import Balance
from ..contracts.common import Many, Page
from ..contracts.ledger import (
    Adjustment,
    AdjustmentCreate,
    AdjustmentDecision,
    Statement,
    Transaction,
    Transfer,
    TrialBalance,
)
from ..http.client import ServiceClient, joined, path_of
from ..http.streams import Flow
from .listing import Listing


class LedgerClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def balance(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> Balance | None:
        """None before the user's first transfer. Depends on `balance:<userId>`."""
        return await self.http.get(path_of("/v1/users/{}/balance", user_id), Balance | None, bearer=bearer)  # pyright: ignore

    async def balances(self, user_ids: Sequence[UUID | str]) -> Many[Balance | None]:
        """None before a user's first transfer."""
        return await self.http.get("/v1/users/balances", Many[Balance | None], params={"ids": joined(user_ids)})

    async def transactions(
        self, user_id: UUID | str, listing: Listing, *, bearer: Bearer | None = None
    ) -> Page[Transaction]:
        """Newest first. Filters: `currency`, `kind`, `since`, `until`."""
        path = path_of("/v1/users/{}/transactions", user_id)
        return await self.http.get(path, Page[Transaction], params=listing.params(), bearer=bearer)

    async def statement(self, user_id: UUID | str, listing: Listing, *, bearer: Bearer | None = None) -> Statement:
        """Filters: `currency`, `since`, `until` (UTC dates)."""
        path = path_of("/v1/users/{}/statement", user_id)
        return await self.http.get(path, Statement, params=listing.params(), bearer=bearer)

    def statement_table(
        self, user_id: UUID | str, listing: Listing, bearer: Bearer
    ) -> AbstractAsyncContextManager[Flow]:
        """The whole statement as CSV."""
        params = {**listing.filters, "format": "csv"}
        return self.http.flow("GET", path_of("/v1/users/{}/statement", user_id), params=params, bearer=bearer)

    async def transfers(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Transfer]:
        """Newest first. Filters: `kind`, `state`, `userId`."""
        return await self.http.get("/v1/transfers", Page[Transfer], params=listing.params(), bearer=bearer)

    async def transfer(self, transfer_id: UUID, *, bearer: Bearer | None = None) -> Transfer:
        return await self.http.get(path_of("/v1/transfers/{}", transfer_id), Transfer, bearer=bearer)

    async def trial_balance(self, until: datetime | None = None, *, bearer: Bearer | None = None) -> TrialBalance:
        """Of the tenants that the caller sees."""
        params = {"until": until and until.isoformat()}
        return await self.http.get("/v1/trial-balance", TrialBalance, params=params, bearer=bearer)

    async def adjust(
        self, user_id: UUID, wanted: AdjustmentCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Adjustment:
        """Applied at once, or waiting for a second person where it is above the limit."""
        return await self.http.send(
            "POST", path_of("/v1/users/{}/adjustments", user_id), Adjustment, wanted,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def adjustments(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Adjustment]:
        """Filter: `state`."""
        return await self.http.get("/v1/adjustments", Page[Adjustment], params=listing.params(), bearer=bearer)

    async def decide(
        self, adjustment_id: UUID, decision: AdjustmentDecision, bearer: Bearer, *, approve: bool
    ) -> Adjustment:
        """Raises Forbidden for who asked for it, StateConflict unless it waits."""
        path = path_of("/v1/adjustments/{}/{}", adjustment_id, "approve" if approve else "reject")
        return await self.http.send("POST", path, Adjustment, decision, bearer=bearer)
