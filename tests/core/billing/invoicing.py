"""A customer with a wallet who buys and uses, without the ways there: orders are paid and complete at once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting
from cloudphone_core.billing.orders import service as orders
from cloudphone_core.billing.orders.models import OrderRow
from cloudphone_core.billing.payments import wallet
from cloudphone_core.billing.payments.models import PaymentRow
from cloudphone_core.billing.payments.refunds import request_refund
from cloudphone_core.billing.payments.service import PaidOrder, open_payment
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.user import User
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World


class Shopper:
    """One of `world`'s users, new, with an empty wallet."""

    def __init__(self, world: World, *, currency: str = "USD") -> None:
        self.world, self.currency = world, currency
        self.user: User = world.owners.user(world.acme)
        self.id = self.user.id
        self.headers = world.customer(self.id, world.acme)

    async def recharge(self, amount: int) -> None:
        tenant = self.user.tenant_id
        async with self.world.database.writing() as session:
            await transfers.transfer(
                session,
                key=f"payment:{uuid7()}",
                kind="recharge",
                postings=[
                    Posting(transfers.wallet(tenant, self.id, self.currency), amount),
                    Posting(transfers.of_tenant(tenant, "clearing", self.currency), -amount),
                ],
                reason="recharge",
                reference=None,
                actor="test",
                at=self.world.now,
            )

    async def subscribe(
        self,
        device_id: UUID,
        *,
        rate: str | int,
        hours: int = 0,
        price: int = 0,
        device_name: str = "Pixel",
        **terms: object,
    ) -> UUID:
        """To a device, with `hours` in the plan and an hour beyond them at `rate`."""
        rule = {
            "name": "By the hour", "kind": "tiered", "currency": self.currency,
            "definition": {"tiers": [{"upToHours": None, "rate": str(rate)}]}, "validFrom": self.world.hour(-9999),
        }  # fmt: skip
        rule_id = (await self.world.ok("POST", "/v1/billing-rules", self.world.admin, rule))["data"]["id"]
        device = self.world.owners.device(self.user.tenant_id, self.id, id=device_id, name=device_name)
        return await self.buy(price, device=device, ruleId=rule_id, includedHours=hours, **terms)

    async def run(self, device_id: UUID, start: float, stop: float, **fields: object) -> dict[str, Any]:
        """From and to hours from now: time has to pass before it is told."""
        self.world.now += timedelta(hours=stop)
        told = await self.world.run(device_id, self.id, start - stop, 0, **fields)
        self.world.now -= timedelta(hours=stop)
        return told

    async def buy(
        self, price: int, *, coupon: str | None = None, device: Device | None = None, **terms: object
    ) -> UUID:
        """The order; its money comes from the wallet, which is filled for it."""
        plan = await self.world.plan(**{"price": price, "currency": self.currency, **terms})
        if price:
            await self.recharge(price)
        order_id, payment_id, now = uuid7(), uuid7(), self.world.now
        async with self.world.database.writing() as session:
            order = await orders.place(
                session,
                order_id=order_id,
                saga_id=None,
                plan_id=UUID(plan["id"]),
                user=self.user,
                device=device,
                coupon_code=coupon,
                payment_method="wallet",
                auto_renew=False,
                payment_id=payment_id,
                actor="test",
                at=now,
            )
            await open_payment(
                session,
                payment_id=payment_id,
                order=PaidOrder(id=order_id, tenant_id=order.tenant_id, user_id=order.user_id),
                method="wallet",
                amount=order.amount,
                currency=order.currency,
                tax=order.tax,
                at=now,
            )
            await wallet.pay_in(
                session, payment_id, now, key=f"order:{order_id}", kind="purchase", reason="plan", actor="test"
            )
            await orders.begin_provisioning(session, order, now)
            await orders.mark_paid(session, order, now)
            await orders.complete(session, order, now)
        return order_id

    async def refund(self, order_id: UUID, amount: int) -> None:
        async with self.world.database.writing() as session:
            order = await session.get_one(OrderRow, order_id)
            assert order.payment_id is not None
            payment = await session.get_one(PaymentRow, order.payment_id)
            await request_refund(session, payment, amount, "too slow", "test", self.world.now)

    async def issue(self) -> list[dict[str, Any]]:
        """What was there before this moment: time passes by a second."""
        self.world.now += timedelta(seconds=1)
        body = {"userId": str(self.id)}
        return (await self.world.ok("POST", "/v1/invoices", self.world.admin, body))["data"]

    async def invoices(self) -> list[dict[str, Any]]:
        return (await self.world.ok("GET", f"/v1/invoices?userId={self.id}", self.headers))["data"]["items"]

    async def invoice(self, invoice_id: str) -> dict[str, Any]:
        return (await self.world.ok("GET", f"/v1/invoices/{invoice_id}", self.headers))["data"]

    async def available(self) -> int:
        sql = "SELECT coalesce(sum(balance - held), 0) FROM billing.accounts WHERE owner_id = :user AND kind = 'wallet'"
        return int((await self.world.rows(sql, user=self.id))[0][0])

    async def owed(self) -> int:
        """What the ledger says is to be received."""
        sql = "SELECT coalesce(-sum(balance), 0) FROM billing.accounts WHERE owner_id = :user AND kind = 'receivable'"
        return int((await self.world.rows(sql, user=self.id))[0][0])


def sums(lines: Sequence[Mapping[str, Any]], *kinds: str) -> int:
    return sum(line["amount"] for line in lines if not kinds or line["kind"] in kinds)
