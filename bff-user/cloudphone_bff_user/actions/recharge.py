"""Money for the caller's wallet."""

from typing import Annotated
from uuid import UUID

from litestar import Response, post
from litestar.params import JSONBody
from msgspec import Meta

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Request
from cloudphone_shared.contracts.common import Currency
from cloudphone_shared.contracts.payment import RechargeCreate
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..payments import MyPayment


class Recharge(Request, frozen=True, kw_only=True):
    """`amount` in minor units."""

    amount: Annotated[int, Meta(ge=100, le=10**9)]
    currency: Currency = "USD"


@post("/my/recharges", tags=["money"], guards=[requires("payments:write")], responses=problems(409, 413, 415, 422))
async def recharge(
    data: JSONBody[Recharge], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[MyPayment]:
    """Begins a payment by card into the caller's wallet: `checkoutUrl` says where to pay."""
    wanted = RechargeCreate(amount=data.amount, currency=data.currency, user_id=UUID(caller.id))
    payment = await core.billing.payments.recharge(wanted, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/my/payments/{payment.id}", MyPayment.of(payment))
