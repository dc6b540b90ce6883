"""`cloudphone ledger …`"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console

from cloudphone_core.billing.ledger.queries import trial_balance as add_up
from cloudphone_core.billing.ledger.verifying import CHECKS
from cloudphone_core.billing.ledger.verifying import verify as look_through
from cloudphone_deploy.commands.asking import settle
from cloudphone_deploy.commands.options import Data, Json
from cloudphone_deploy.commands.tables import plain, table
from cloudphone_shared.contracts.ledger import TrialBalance
from cloudphone_shared.database import SCHEMAS, Database
from cloudphone_shared.settings import Databases, load

T = TypeVar("T")

app = cyclopts.App(
    name="ledger",
    help="The books: whether they are right, and what they add up to. Both read billing's database directly.",
    help_format="markdown",
)

Until = Annotated[datetime | None, Parameter(help="What was booked before, in UTC unless it says otherwise; now.")]


@app.command
def verify(*, json: Json = False, data: Data = None) -> None:
    """Compute every figure of the ledger again, in one snapshot, and name the first wrong row of each check that fails.

    Exits with 1 where anything is wrong. Writers are not held up; each check is one pass over its tables.

    For example: `cloudphone ledger verify --json`
    """
    found = _of_billing(data, look_through)
    if json:
        print(plain(found))
    else:
        print(f"{found.accounts} accounts, {found.transfers} transfers and {found.entries} entries.")
        failed = {wrong.check: wrong for wrong in found.wrong}
        for check in CHECKS:
            print(f"  {'WRONG' if check in failed else 'right'}  {check}")
            if wrong := failed.get(check):
                print(f"         {wrong.row}: {wrong.says}")
    if found.wrong:
        raise SystemExit(1)


@app.command(name="trial-balance")
def trial_balance(*, until: Until = None, json: Json = False, data: Data = None) -> None:
    """What every kind of account of each tenant and currency adds up to, from its entries; all together: zero.

    For example, a month's end: `cloudphone ledger trial-balance --until 2026-04-01`
    """
    moment = until or datetime.now(UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    async def asked(database: Database) -> TrialBalance:
        async with database.reading() as session:
            return await add_up(session, None, moment)

    found = _of_billing(data, asked)
    if json:
        print(plain(found))
    else:
        _show(found)
    if not found.balanced:
        raise SystemExit(1)


def _show(found: TrialBalance) -> None:
    rows: list[list[str]] = []
    for line in found.lines:
        figures = line.accounts, line.debits, line.credits, line.balance
        rows.append([str(line.tenant_id), line.currency, line.kind, *(f"{figure:,}" for figure in figures)])
    Console().print(table(("tenant", "currency", "kind", "accounts", "debits", "credits", "balance"), rows))
    print(
        f"Booked before {found.until:%Y-%m-%d %H:%M:%S} UTC, in minor units. "
        + ("It adds up to zero." if found.balanced else "It does NOT add up to zero.")
    )


def _of_billing(data: Data, ask: Callable[[Database], Awaitable[T]]) -> T:
    async def answer() -> T:
        database = Database(
            load(Databases).url_of("billing"), schema=SCHEMAS["billing"], service="billing", pool_size=1
        )
        try:
            return await ask(database)
        finally:
            await database.close()

    settle(data)
    return uvloop.run(answer())
