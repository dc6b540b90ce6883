"""A shop that takes cards."""

import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.main import create_app
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.payments.found import Patience
from cloudphone_core.billing.payments.provider import CardProvider
from cloudphone_core.billing.payments.rounds import look_after
from cloudphone_core.billing.payments.service import PaidOrder, Payments, open_payment
from cloudphone_shared.database import Database
from cloudphone_shared.http.breaker import Breaker
from cloudphone_shared.ids import uuid7
from tests.core.billing.card_server import KEY, SECRET, CardServer
from tests.core.billing.conftest import World
from tests.core.owners import Owners
from tests.signing import Signer, client_of

OLD_SECRET = "whsec_old"


class Shop(World):
    """Billing's world, where cards are taken."""

    def __init__(self, *given: Any, payments: Payments, provider: httpx.AsyncClient) -> None:
        super().__init__(*given)
        self.payments = payments
        self.provider = provider
        self.now = datetime.now(UTC)

    async def behave(self, *faults: str, webhooks: str = "hold") -> None:
        """`faults` as in `intent.capture:cut-after`."""
        wanted = [dict(zip(("on", "how"), fault.split(":"), strict=True)) for fault in faults]
        answer = await self.provider.post("/control/behaviour", json={"webhooks": webhooks, "faults": wanted})
        assert answer.is_success, answer.text

    async def recharge(self, amount: int = 5000, **fields: object) -> dict[str, Any]:
        return (await self.ok("POST", "/v1/recharges", self.as_ana, {"amount": amount, **fields}))["data"]

    async def order(self, amount: int = 2000, tax: int = 319) -> UUID:  # type: ignore[override]
        """The id of a payment that waits for its card."""
        order = PaidOrder(id=uuid7(), tenant_id=self.acme, user_id=self.ana.id)
        async with self.database.writing() as session:
            payment = await open_payment(
                session, payment_id=uuid7(), order=order, method="card", amount=amount, currency="USD", tax=tax,
                at=self.now,
            )  # fmt: skip
            return payment.id

    async def at_checkout(self, url: str, action: str = "pay") -> httpx.Response:
        return await self.provider.post(f"{url}/{action}")

    async def webhooks(self) -> list[dict[str, str]]:
        """What the provider has to tell since it was asked last."""
        return (await self.provider.get("/control/webhooks")).json()

    async def tell(self, webhook: dict[str, str]) -> httpx.Response:
        headers = {"Stripe-Signature": webhook["signature"].encode()}
        return await self.client.post("/v1/webhooks/card", content=webhook["body"].encode(), headers=headers)

    async def hear(self) -> list[str]:
        """All that the provider has to tell, in its order; what became of each."""
        return [(await self.tell(webhook)).json()["outcome"] for webhook in await self.webhooks()]

    async def payment(self, payment_id: UUID | str) -> dict[str, Any]:
        return (await self.ok("GET", f"/v1/payments/{payment_id}", self.admin))["data"]

    async def look(self) -> None:
        await look_after(self.payments)

    async def wallet(self) -> int:
        purse = transfers.wallet(self.acme, self.ana.id, "USD")
        rows = await self.rows("SELECT balance - held FROM billing.accounts WHERE id = :id", id=purse.id)
        return int(rows[0][0]) if rows else 0

    async def booked(self, kind: str) -> int:
        """What stands on the tenant's account of this kind."""
        rows = await self.rows(
            "SELECT coalesce(sum(e.amount), 0) FROM billing.entries AS e JOIN billing.accounts AS a"
            " ON a.id = e.account_id WHERE a.tenant_id = :tenant AND a.kind = :kind",
            tenant=self.acme, kind=kind,
        )  # fmt: skip
        return int(rows[0][0])

    async def charged(self, reference: str | None) -> int:
        """What the provider has taken for a payment, less what it gave back, by its books."""
        if reference is None:
            return 0
        intent = (await self.provider.get(f"/control/things/{reference}")).json()
        if intent["latest_charge"] is None:
            return 0
        charge = (await self.provider.get(f"/control/things/{intent['latest_charge']}")).json()
        return charge["amount_captured"] - charge["amount_refunded"]


def signed(body: object, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """As Stripe documents it: `t=…,v1=HMAC-SHA256(secret, "t.payload")`."""
    payload = msgspec.json.encode(body).decode()
    moment = int(time.time() if at is None else at)
    mac = hmac.new(secret.encode(), f"{moment}.{payload}".encode(), hashlib.sha256)
    return {"body": payload, "signature": f"t={moment},v1={mac.hexdigest()}"}


@contextlib.asynccontextmanager
async def opened(database_url: str, signer: Signer, server: CardServer) -> AsyncIterator[Shop]:
    database = Database(database_url, schema=SCHEMA, service="billing", pool_size=10)
    owners = Owners()
    card = CardProvider(
        api_key=KEY, api_url=server.url, secrets=[SECRET, OLD_SECRET], return_url="http://shop.test/return",
        seconds=30, breaker=Breaker(least=1000),
    )  # fmt: skip
    payments = Payments(database, lambda: shop.now, provider=card, patience=Patience())
    app = create_app(
        database=database, verifier=signer.verifier(), core=owners.clients(signer, "billing"), payments=payments,
        cursor_key="test", now=lambda: shop.now,
    )  # fmt: skip
    keyed = httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    async with keyed as provider, client_of(app) as client:
        shop = Shop(client, database, signer, owners, payments=payments, provider=provider)
        await shop.behave()
        await shop.webhooks()
        yield shop
