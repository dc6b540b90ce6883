"""An invoice's screen: the invoice line by line, and whose it is."""

from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Arrears
from cloudphone_shared.contracts.invoice import Invoice
from cloudphone_shared.contracts.user import User

from ..staff import screen


class InvoiceFull(Contract, frozen=True, kw_only=True):
    """`arrears` is null for a user who owes nothing; every part but the invoice may be null while its service is
    away."""

    invoice: Invoice
    user: User | None
    arrears: Arrears | None


invoice_full = View("invoice:full:{invoice_id}", InvoiceFull, fresh_for=300, serve_stale_for=3600)


@invoice_full.segment
async def invoice(core: CoreClients, invoice_id: str) -> Invoice:
    return await core.billing.invoices.one(invoice_id)


@invoice_full.segment(given=lambda invoice: invoice.user_id)
async def user(core: CoreClients, invoice: Invoice) -> User:
    return await core.user.get(invoice.user_id)


@invoice_full.segment(given=lambda invoice: invoice.user_id)
async def arrears(core: CoreClients, invoice: Invoice) -> Arrears | None:
    return await core.billing.arrears_of(invoice.user_id)


@invoice_full.audience
def audience(invoice: Invoice) -> Audience:
    return Audience(tenant=str(invoice.tenant_id), owner=str(invoice.user_id))


@screen("/admin/invoices/{invoice_id:uuid}", invoice_full, "invoices:read", 404, tags=["invoices"])
async def show_invoice(invoice_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """An invoice, or a credit note, line by line, with its user."""
    return await screens.show(invoice_full, invoice_id=invoice_id)
