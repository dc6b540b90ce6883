"""One of the caller's invoices, with the names of the devices that its lines are about."""

from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens, each_noted
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.common import MOST_IDS

from ..invoices import MyInvoice
from ..portal import screen


class MyInvoiceFull(Contract, frozen=True, kw_only=True):
    """`device_names` by id, of the first hundred that still are; null while the device service is away."""

    invoice: MyInvoice
    device_names: dict[str, str] | None


my_invoice = View("my:invoice:{invoice_id}", MyInvoiceFull, fresh_for=300, serve_stale_for=3600)


@my_invoice.segment
async def invoice(core: CoreClients, invoice_id: str) -> MyInvoice:
    return MyInvoice.of(await core.billing.invoices.one(invoice_id))


@my_invoice.segment(given=lambda invoice: _devices(invoice))
async def device_names(core: CoreClients, invoice: MyInvoice) -> dict[str, str]:
    wanted = _devices(invoice)
    if not wanted:
        return {}
    found = await each_noted("device", core.device.get_many(wanted), wanted)
    # What the caller gave back may be another's by now, and its name is the other's affair.
    return {str(each.id): each.name for each in found if each.owner_id == invoice.user_id}


def _devices(invoice: MyInvoice) -> list[UUID]:
    named = (line.device_id for line in invoice.lines if line.device_id is not None)
    return list(dict.fromkeys(named))[:MOST_IDS]


@my_invoice.audience
def audience(invoice: MyInvoice) -> Audience:
    return Audience(owner=str(invoice.user_id))


@screen("/my/invoices/{invoice_id:uuid}", my_invoice, "invoices:read", tags=["invoices"])
async def show_my_invoice(invoice_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """One of the caller's invoices, or credit notes, line by line."""
    return await screens.show(my_invoice, invoice_id=invoice_id)
