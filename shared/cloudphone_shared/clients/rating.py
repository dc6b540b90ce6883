"""Asking the billing service what usage costs, and for its reports."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.invoice import RunHistory
from ..contracts.rating import (
    BillingRule,
    Budget,
    BudgetSet,
    RuleCreate,
    RulePatch,
    RuleRevise,
    RuleRevision,
    RuleTrial,
    UserCost,
)
from ..contracts.report import RevenueReport, UsageReport
from ..http.client import ServiceClient, path_of
from ..http.streams import Flow
from .listing import Listing


class RatingClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def rules(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[BillingRule]:
        """Filters: `kind`, `active`. Depends on `rules:all` and each rule."""
        return await self.http.get("/v1/billing-rules", Page[BillingRule], params=listing.params(), bearer=bearer)

    async def rule(self, rule_id: UUID, *, bearer: Bearer | None = None) -> BillingRule:
        return await self.http.get(path_of("/v1/billing-rules/{}", rule_id), BillingRule, bearer=bearer)

    async def rule_revisions(self, rule_id: UUID, *, bearer: Bearer | None = None) -> list[RuleRevision]:
        path = path_of("/v1/billing-rules/{}/revisions", rule_id)
        return await self.http.get(path, list[RuleRevision], bearer=bearer)

    async def create_rule(self, rule: RuleCreate, bearer: Bearer, *, idempotency_key: str | None = None) -> BillingRule:
        return await self.http.send(
            "POST", "/v1/billing-rules", BillingRule, rule, bearer=bearer, idempotency_key=idempotency_key
        )

    async def change_rule(
        self, rule_id: UUID, patch: RulePatch, bearer: Bearer, *, if_match: str | None = None
    ) -> BillingRule:
        path = path_of("/v1/billing-rules/{}", rule_id)
        return await self.http.send("PATCH", path, BillingRule, patch, bearer=bearer, if_match=if_match)

    async def revise_rule(
        self, rule_id: UUID, revision: RuleRevise, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> BillingRule:
        return await self.http.send(
            "POST", path_of("/v1/billing-rules/{}/revisions", rule_id), BillingRule, revision,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def try_rule(self, trial: RuleTrial, bearer: Bearer) -> UserCost:
        """Saves nothing."""
        return await self.http.send("POST", "/v1/billing-rules/trial", UserCost, trial, bearer=bearer)

    async def run_history(self, run_id: UUID, *, bearer: Bearer | None = None) -> RunHistory:
        return await self.http.get(path_of("/v1/runs/{}/history", run_id), RunHistory, bearer=bearer)

    async def cost(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> UserCost:
        """So far in the period, with the budget. Depends on `cost-of:<userId>` and the user's usage."""
        return await self.http.get(path_of("/v1/users/{}/cost", user_id), UserCost, bearer=bearer)

    async def budget(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> Budget | None:
        """None for a user who has set none."""
        return await self.http.get(path_of("/v1/users/{}/budget", user_id), Budget | None, bearer=bearer)  # pyright: ignore

    async def set_budget(self, user_id: UUID | str, budget: BudgetSet, bearer: Bearer) -> Budget:
        return await self.http.send("PUT", path_of("/v1/users/{}/budget", user_id), Budget, budget, bearer=bearer)

    async def revenue(self, wanted: Mapping[str, Any], *, bearer: Bearer | None = None) -> RevenueReport:
        """`wanted`: `currency`, `since`, `until` (dates), `by` (day|month), `tenantId`; so for the others."""
        return await self.http.get("/v1/reports/revenue", RevenueReport, params=wanted, bearer=bearer)

    async def usage(self, wanted: Mapping[str, Any], *, bearer: Bearer | None = None) -> UsageReport:
        return await self.http.get("/v1/reports/usage", UsageReport, params=wanted, bearer=bearer)

    def revenue_table(self, wanted: Mapping[str, Any], bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        """As CSV."""
        return self.http.flow("GET", "/v1/reports/revenue", params={**wanted, "format": "csv"}, bearer=bearer)

    def usage_table(self, wanted: Mapping[str, Any], bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        """As CSV."""
        return self.http.flow("GET", "/v1/reports/usage", params={**wanted, "format": "csv"}, bearer=bearer)
