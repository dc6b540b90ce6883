"""What the BFFs' handlers take: who asks, whom they ask, and the parameters that recur."""

from datetime import date
from typing import Annotated
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ..auth import Caller
from ..clients import CoreClients
from ..contracts.invoice import InvoiceKind, InvoiceState
from ..contracts.ledger import TransferKind
from ..contracts.payment import PaymentPurpose, PaymentState
from ..contracts.purchase import PaymentMethod, SubscriptionState
from .lists import ListQuery

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
