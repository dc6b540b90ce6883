"""What moved in the caller's wallet, from the billing service as it stands."""

from litestar import Response, get

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.ledger import Statement, Transaction
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Asked, Core, InCurrency, OfTransfers, Since, Until, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form, in_form
from cloudphone_shared.http.problems import problems


@get(
    "/my/transactions",
    tags=["money"],
    guards=[requires("orders:read"), only_parameters("currency", "since", "until", "kind")],
    responses=problems(),
)
async def list_my_transactions(
    core: Core,
    caller: Who,
    asked: Asked,
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    kind: OfTransfers = None,
) -> Page[Transaction]:
    """What moved in the caller's wallet, newest first; what is held stands there as pending."""
    listing = asked.listing(currency=currency, since=since, until=until, kind=kind)
    return await core.billing.ledger.transactions(caller.id, listing, bearer=passing_on(caller))


@get(
    "/my/statement",
    tags=["money"],
    guards=[requires("orders:read"), only_parameters("currency", "since", "until", "format")],
    responses=problems(),
    operation_class=AlsoTable,
)
async def show_my_statement(
    core: Core,
    caller: Who,
    asked: Asked,
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    form: Form = "json",
) -> Response[Statement]:
    """A wallet's statement: what there was, what came and went, what there is."""
    listing, bearer = asked.listing(currency=currency, since=since, until=until), passing_on(caller)
    ledger = core.billing.ledger
    return await in_form(
        form,
        lambda: ledger.statement(caller.id, listing, bearer=bearer),
        lambda: ledger.statement_table(caller.id, listing, bearer),
    )


TRANSACTIONS = [list_my_transactions, show_my_statement]
