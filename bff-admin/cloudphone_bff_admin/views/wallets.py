"""A user's wallet, from the ledger as it stands."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Balance
from cloudphone_shared.contracts.ledger import Statement, Transaction
from cloudphone_shared.http.handling import Asked, Core, InCurrency, OfTransfers, Since, Until, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form, in_form
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("orders:read")


@get("/admin/users/{user_id:uuid}/balance", tags=["wallets"], guards=[_READ], responses=problems(404))
async def show_balance(user_id: FromPath[UUID], core: Core, caller: Who) -> Balance | None:
    """What a user's wallets hold; null before the first transfer."""
    return await core.billing.ledger.balance(user_id, bearer=passing_on(caller))


@get(
    "/admin/users/{user_id:uuid}/transactions",
    tags=["wallets"],
    guards=[_READ, only_parameters("currency", "since", "until", "kind")],
    responses=problems(404),
)
async def list_transactions(
    user_id: FromPath[UUID],
    core: Core,
    caller: Who,
    asked: Asked,
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    kind: OfTransfers = None,
) -> Page[Transaction]:
    """What moved in a user's wallet, newest first; what is held stands there as pending."""
    listing = asked.listing(currency=currency, since=since, until=until, kind=kind)
    return await core.billing.ledger.transactions(user_id, listing, bearer=passing_on(caller))


@get(
    "/admin/users/{user_id:uuid}/statement",
    tags=["wallets"],
    guards=[_READ, only_parameters("currency", "since", "until", "format")],
    responses=problems(404),
    operation_class=AlsoTable,
)
async def show_statement(
    user_id: FromPath[UUID],
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
        lambda: ledger.statement(user_id, listing, bearer=bearer),
        lambda: ledger.statement_table(user_id, listing, bearer),
    )


WALLETS = [show_balance, list_transactions, show_statement]
