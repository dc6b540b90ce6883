"""What the BFFs' handlers take: who asks, whom they ask, and the parameters that recur."""

from datetime import date
from typing import Annotated
from uuid import UUID

from litestar import Response
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from ..auth import Caller, passing_on
from ..clients import CoreClients, Listing
from ..contracts.invoice import InvoiceKind, InvoiceState
from ..contracts.ledger import Statement, TransferKind
from ..contracts.payment import PaymentPurpose, PaymentState
from ..contracts.purchase import PaymentMethod, SubscriptionState
from .lists import ListQuery
from .operations import Form, in_form

Core = NamedDependency[CoreClients]
Who = NamedDependency[Caller]
Asked = NamedDependency[ListQuery]

OfUser = Annotated[UUID | None, QueryParameter(name="userId")]
OfOrder = Annotated[UUID | None, QueryParameter(name="orderId")]
InCurrency = Annotated[str | None, QueryParameter(name="currency", pattern="^[A-Z]{3}$")]
Since = Annotated[date | None, QueryParameter(name="since", description="From this day on (UTC)")]
Until = Annotated[date | None, QueryParameter(name="until", description="Until before this day (UTC)")]
OfTransfers = Annotated[TransferKind | None, QueryParameter(name="kind")]
InPaymentState = Annotated[PaymentState | None, QueryParameter(name="state")]
ForPurpose = Annotated[PaymentPurpose | None, QueryParameter(name="purpose")]
ByMethod = Annotated[PaymentMethod | None, QueryParameter(name="method")]
InInvoiceState = Annotated[InvoiceState | None, QueryParameter(name="state")]
OfInvoices = Annotated[InvoiceKind | None, QueryParameter(name="kind")]
InSubscriptionState = Annotated[SubscriptionState | None, QueryParameter(name="state")]


async def _moved(asked: Asked, currency: InCurrency = None, since: Since = None, until: Until = None) -> Listing:
    return asked.listing(currency=currency, since=since, until=until)


Moved = NamedDependency[Listing]
"""Which part of a wallet's history is asked for; its handler has `MOVED` among its dependencies."""
MOVED = {"moved": Provide(_moved)}


async def statement(
    core: CoreClients, caller: Caller, user_id: UUID | str, moved: Listing, form: Form
) -> Response[Statement]:
    """Raises NotFound for a user whom the caller may not see."""
    ledger, bearer = core.billing.ledger, passing_on(caller)
    return await in_form(
        form,
        lambda: ledger.statement(user_id, moved, bearer=bearer),
        lambda: ledger.statement_table(user_id, moved, bearer),
    )
