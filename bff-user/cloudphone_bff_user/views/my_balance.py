"""The caller's wallets, and what moved in them lately."""

from datetime import datetime
from uuid import UUID

from litestar.di import NamedDependency
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import CoreClients, Listing
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Balance, WalletBalance
from cloudphone_shared.contracts.ledger import Transaction

from ..portal import screen

LATEST = 10


class Wallets(Contract, frozen=True, kw_only=True):
    """`user_id` is the caller. One per currency, never mixed; the first used comes first, none before the first
    transfer. `updated_at` is the latest of theirs."""

    user_id: UUID
    wallets: list[WalletBalance]
    updated_at: datetime | None

    @staticmethod
    def of(user_id: str, balance: Balance | None) -> "Wallets":
        if balance is None:
            return Wallets(user_id=UUID(user_id), wallets=[], updated_at=None)
        first = WalletBalance(
            currency=balance.currency, available=balance.available, held=balance.held, updated_at=balance.updated_at
        )
        wallets = [first, *balance.others]
        latest = max(wallet.updated_at for wallet in wallets)
        return Wallets(user_id=balance.user_id, wallets=wallets, updated_at=latest)


class MyBalance(Contract, frozen=True, kw_only=True):
    """`latest`: the last ten transactions, newest first; null while billing is away."""

    balance: Wallets
    latest: list[Transaction] | None


my_balance = View("my:balance:{user_id}", MyBalance, fresh_for=300, serve_stale_for=3600)


@my_balance.segment
async def balance(core: CoreClients, user_id: str) -> Wallets:
    return Wallets.of(user_id, await core.billing.ledger.balance(user_id))


@my_balance.segment
async def latest(core: CoreClients, user_id: str) -> list[Transaction]:
    return (await core.billing.ledger.transactions(user_id, Listing(limit=LATEST))).items


@my_balance.audience
def audience(balance: Wallets) -> Audience:
    return Audience(owner=str(balance.user_id))


@screen("/my/balance", my_balance, "orders:read", tags=["money"])
async def show_my_balance(caller: NamedDependency[Caller], screens: NamedDependency[Screens]) -> ASGIApp:
    """What the caller's wallets hold, and the latest transactions."""
    return await screens.show(my_balance, user_id=caller.id)
