"""The caller's payments, from the billing service as they stand, and where the provider sends a payer back to."""

from uuid import UUID

from litestar import MediaType, get
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.http.app import PUBLIC, requires
from cloudphone_shared.http.handling import Asked, ByMethod, Core, ForPurpose, InPaymentState, OfOrder, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..payments import MyPayment, MyPaymentSummary

_RETURNED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Payment</title>
<p>Thank you. Your payment is being confirmed, which takes a moment.</p>
<p>Your payments, orders and balance show it as soon as it is.</p></html>
"""


@get(
    "/my/payments",
    tags=["money"],
    guards=[requires("payments:read"), only_parameters("state", "purpose", "method", "orderId")],
    responses=problems(),
)
async def list_my_payments(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: InPaymentState = None,
    purpose: ForPurpose = None,
    method: ByMethod = None,
    order_id: OfOrder = None,
) -> Page[MyPaymentSummary]:
    """The caller's payments, newest first."""
    listing = asked.listing(state=present_state, purpose=purpose, method=method, orderId=order_id, userId=caller.id)
    page = await core.billing.payments.page(listing, bearer=passing_on(caller))
    return Page(items=[MyPaymentSummary.of(each) for each in page.items], next_cursor=page.next_cursor)


@get("/my/payments/{payment_id:uuid}", tags=["money"], guards=[requires("payments:read")], responses=problems(404))
async def show_my_payment(payment_id: FromPath[UUID], core: Core, caller: Who) -> MyPayment:
    """One of the caller's payments, with what became of it."""
    return MyPayment.of(await core.billing.payments.one(payment_id, bearer=passing_on(caller)))


@get(
    "/payments/return",
    opt=PUBLIC,
    security=[{}],
    tags=["money"],
    media_type=MediaType.HTML,
    responses=problems(),
)
async def returned_from_checkout() -> str:
    """Where the card provider's page sends the payer back to. It says nothing of the payment: a provider's word, not
    the payer's way back, settles that."""
    return _RETURNED


PAYMENTS = [list_my_payments, show_my_payment, returned_from_checkout]
