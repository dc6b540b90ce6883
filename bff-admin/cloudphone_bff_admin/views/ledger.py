"""Transfers between accounts, their sums, and what was adjusted by hand, from the ledger as it stands."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.ledger import Adjustment, AdjustmentState, Transfer, TransferState, TrialBalance
from cloudphone_shared.http.handling import Asked, Core, OfTransfers, OfUser, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("ledger:read")


@get("/admin/adjustments", tags=["ledger"], guards=[_READ, only_parameters("state")], responses=problems())
async def list_adjustments(
    core: Core,
    caller: Who,
    asked: Asked,
    present_state: Annotated[AdjustmentState | None, QueryParameter(name="state")] = None,
) -> Page[Adjustment]:
    """What was given or taken by hand, or waits for a second person."""
    return await core.billing.ledger.adjustments(asked.listing(state=present_state), bearer=passing_on(caller))


@get(
    "/admin/transfers",
    tags=["ledger"],
    guards=[_READ, only_parameters("kind", "state", "userId")],
    responses=problems(),
)
async def list_transfers(
    core: Core,
    caller: Who,
    asked: Asked,
    kind: OfTransfers = None,
    present_state: Annotated[TransferState | None, QueryParameter(name="state")] = None,
    user_id: OfUser = None,
) -> Page[Transfer]:
    """Transfers with their entries, newest first."""
    listing = asked.listing(kind=kind, state=present_state, userId=user_id)
    return await core.billing.ledger.transfers(listing, bearer=passing_on(caller))


@get("/admin/transfers/{transfer_id:uuid}", tags=["ledger"], guards=[_READ], responses=problems(404))
async def show_transfer(transfer_id: FromPath[UUID], core: Core, caller: Who) -> Transfer:
    """A transfer with its entries, which add up to zero."""
    return await core.billing.ledger.transfer(transfer_id, bearer=passing_on(caller))


@get("/admin/trial-balance", tags=["ledger"], guards=[_READ], responses=problems())
async def show_trial_balance(
    core: Core,
    caller: Who,
    until: Annotated[datetime | None, QueryParameter(description="Entries posted before this time")] = None,
) -> TrialBalance:
    """Every kind of account's debits, credits and balance, per tenant and currency."""
    return await core.billing.ledger.trial_balance(until, bearer=passing_on(caller))


LEDGER = [list_adjustments, list_transfers, show_transfer, show_trial_balance]
