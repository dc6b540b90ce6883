"""What is asked most often of wallets, each in one statement."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

import msgspec
import sqlalchemy as sa

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import Balance, WalletBalance
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Statement, asked, many, version_of

from ..models import Base
from .models import AccountRow


@cache
def _wallets() -> Statement:
    """Every user's, that used first before the others."""
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.balance, asked.c.id).label("version"),
            AccountRow.currency,
            (AccountRow.balance - AccountRow.held).label("available"),
            AccountRow.held,
            AccountRow.updated_at,
        )
        .select_from(asked)
        .outerjoin(AccountRow, sa.and_(AccountRow.owner_id == asked.c.id, AccountRow.kind == "wallet"))
        .order_by(AccountRow.opened_at, AccountRow.id)
    )


async def balance(database: Database, user_id: UUID) -> Answer[Balance | None]:
    return (await _balances(database, [user_id]))[user_id]


async def balances(database: Database, user_ids: Sequence[UUID]) -> Answer[Many[Balance | None]]:
    return many(await _balances(database, user_ids), {})


async def _balances(database: Database, user_ids: Sequence[UUID]) -> dict[UUID, Answer[Balance | None]]:
    versions: dict[UUID, int] = {}
    wallets: dict[UUID, list[WalletBalance]] = {}
    for row in await database.rows(_wallets(), ids=user_ids):
        versions[row["asked"]] = row["version"]
        mine = wallets.setdefault(row["asked"], [])
        if row["currency"] is not None:
            mine.append(
                WalletBalance(
                    currency=row["currency"],
                    available=row["available"],
                    held=row["held"],
                    updated_at=row["updated_at"],
                )
            )
    return {
        user_id: Answer(data=_balance(user_id, mine), entities={entities.balance(user_id): versions[user_id]})
        for user_id, mine in wallets.items()
    }


def _balance(user_id: UUID, wallets: Sequence[WalletBalance]) -> Balance | None:
    if not wallets:
        return None
    first, *others = wallets
    return Balance(user_id=user_id, others=others, **msgspec.structs.asdict(first))
