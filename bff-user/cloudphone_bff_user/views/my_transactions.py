"""What moved in the caller's wallet, from the billing service as it stands."""

from litestar import Response, get
from msgspec.structs import replace

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.ledger import Statement, Transaction
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import MOVED, Core, Moved, OfTransfers, Who, statement
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form
from cloudphone_shared.http.problems import problems


@get(
    "/my/transactions",
    tags=["money"],
    guards=[requires("orders:read"), only_parameters("currency", "since", "until", "kind")],
    dependencies=MOVED,
    responses=problems(),
)
async def list_my_transactions(core: Core, caller: Who, moved: Moved, kind: OfTransfers = None) -> Page[Transaction]:
    """What moved in the caller's wallet, newest first; what is held stands there as pending."""
    wanted = replace(moved, filters={**moved.filters, "kind": kind})
    return await core.billing.ledger.transactions(caller.id, wanted, bearer=passing_on(caller))


@get(
    "/my/statement",
    tags=["money"],
    guards=[requires("orders:read"), only_parameters("currency", "since", "until", "format")],
    dependencies=MOVED,
    responses=problems(),
    operation_class=AlsoTable,
)
async def show_my_statement(core: Core, caller: Who, moved: Moved, form: Form = "json") -> Response[Statement]:
    """A wallet's statement: what there was, what came and went, what there is."""
    return await statement(core, caller, caller.id, moved, form)


TRANSACTIONS = [list_my_transactions, show_my_statement]
