"""A user's wallet, from the ledger as it stands."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from msgspec.structs import replace

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Balance
from cloudphone_shared.contracts.ledger import Statement, Transaction
from cloudphone_shared.http.handling import MOVED, Core, Moved, OfTransfers, Who, statement
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form
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
    dependencies=MOVED,
    responses=problems(404),
)
async def list_transactions(
    user_id: FromPath[UUID], core: Core, caller: Who, moved: Moved, kind: OfTransfers = None
) -> Page[Transaction]:
    """What moved in a user's wallet, newest first; what is held stands there as pending."""
    wanted = replace(moved, filters={**moved.filters, "kind": kind})
    return await core.billing.ledger.transactions(user_id, wanted, bearer=passing_on(caller))


@get(
    "/admin/users/{user_id:uuid}/statement",
    tags=["wallets"],
    guards=[_READ, only_parameters("currency", "since", "until", "format")],
    dependencies=MOVED,
    responses=problems(404),
    operation_class=AlsoTable,
)
async def show_statement(
    user_id: FromPath[UUID], core: Core, caller: Who, moved: Moved, form: Form = "json"
) -> Response[Statement]:
    """A wallet's statement: what there was, what came and went, what there is."""
    return await statement(core, caller, user_id, moved, form)


WALLETS = [show_balance, list_transactions, show_statement]
