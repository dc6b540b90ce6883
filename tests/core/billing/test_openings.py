"""Balances that an administrator had set become opening transfers."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting, of_tenant, wallet
from cloudphone_core.billing.ledger.verifying import verify
from cloudphone_core.billing.models import SCHEMA
from cloudphone_shared.database import Database, History, migrate, upgrade
from cloudphone_shared.ids import uuid7
from tests.servers import Postgres

pytestmark = pytest.mark.anyio


async def test_balances_set_before_the_ledger_are_wallets_after_it(postgres: Postgres, tmp_path: Path) -> None:
    url = await postgres.database()
    for revision in sorted(History.of("billing").folder.glob("000[12]_*.py")):
        shutil.copy(revision, tmp_path)
    await upgrade(url, History("billing", SCHEMA, tmp_path))
    tenant, rich, poor = uuid7(), uuid7(), uuid7()
    database = Database(url, schema=SCHEMA, service="billing", pool_size=2)
    async with database.writing() as session:
        for user, available, held in ((rich, 700, 50), (poor, 0, 0)):
            await session.execute(
                text("INSERT INTO billing.balances VALUES (:user, :tenant, 'EUR', :available, :held, now())"),
                {"user": user, "tenant": tenant, "available": available, "held": held},
            )
    await migrate(url, "billing")
    async with database.writing() as session:
        sql = "SELECT user_id, available, held FROM billing.user_balances"
        assert set(await session.execute(text(sql))) == {(rich, 750, 0), (poor, 0, 0)}
        await transfers.transfer(
            session,
            key="first",
            kind="purchase",
            postings=[Posting(wallet(tenant, rich, "EUR"), -750), Posting(of_tenant(tenant, "revenue", "EUR"), 750)],
            reason="all of it",
            reference=None,
            actor="test",
            at=(await session.execute(text("SELECT now()"))).scalar_one(),
        )
    found = await verify(database)
    assert (found.accounts, found.transfers, found.entries, found.wrong) == (4, 2, 4, [])
    await database.close()
