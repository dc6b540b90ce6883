"""Whether the books are what the database promises: everything is computed again from what was written, by the
database itself, in one snapshot and one pass per question, however many rows there are."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database


class Wrong(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first row that fails a check, in the order of its table's key; `says` what it has and what it should."""

    check: str
    row: str
    says: str


class Verification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many rows were looked at, and the first wrong one of each check that failed."""

    accounts: int
    transfers: int
    entries: int
    wrong: list[Wrong]


_COUNTS = """
SELECT (SELECT count(*) FROM billing.accounts) AS accounts, (SELECT count(*) FROM billing.transfers) AS transfers,
    (SELECT count(*) FROM billing.entries) AS entries
"""

CHECKS: Mapping[str, str] = {
    "every transfer adds up to zero": """
        SELECT 'transfer ' || id, 'its amounts ' || amounts::text || ' add up to ' || billing.total(amounts)
        FROM billing.transfers
        WHERE billing.total(amounts) <> 0 OR cardinality(account_ids) <> cardinality(amounts)
        ORDER BY id LIMIT 1
    """,
    "every transfer is in a state of its own": """
        SELECT 'transfer ' || id, 'it is ' || state || ', settled ' || coalesce(settled_at::text, 'never')
        FROM billing.transfers
        WHERE state NOT IN ('pending', 'posted', 'voided', 'expired') OR (state = 'pending') <> (settled_at IS NULL)
        ORDER BY id LIMIT 1
    """,
    "every entry belongs to a transfer": """
        SELECT 'entry ' || e.transfer_id || '/' || e.line, 'there is no such transfer'
        FROM billing.entries AS e
        WHERE NOT EXISTS (SELECT FROM billing.transfers AS t WHERE t.id = e.transfer_id)
        ORDER BY e.transfer_id, e.line LIMIT 1
    """,
    "every transfer stays in its tenant, its currency and with its user": """
        SELECT 'transfer ' || t.id, 'line ' || l.line || ' is on ' || coalesce(
            a.kind || ' ' || a.id || ' of ' || coalesce(a.owner_id, a.tenant_id) || ' in ' || a.currency,
            'account ' || l.account_id || ', which is not there'
        )
        FROM billing.transfers AS t
        CROSS JOIN unnest(t.account_ids) WITH ORDINALITY AS l (account_id, line)
        LEFT JOIN billing.accounts AS a ON a.id = l.account_id
        WHERE a.id IS NULL OR a.tenant_id <> t.tenant_id OR a.currency <> t.currency
            OR a.owner_id <> coalesce(t.user_id, t.tenant_id)
        ORDER BY t.id, l.line LIMIT 1
    """,
    "what is posted is booked as it says, and nothing else is": """
        SELECT 'transfer ' || t.id, 'it is ' || t.state || ' with ' || t.amounts::text || ' at '
            || coalesce(t.settled_at::text, 'no time') || ', booked are ' || coalesce(e.amounts::text, 'none')
            || coalesce(' from ' || e.first::text || ' to ' || e.last::text, '')
        FROM billing.transfers AS t
        LEFT JOIN (
            SELECT transfer_id, array_agg(account_id ORDER BY line) AS account_ids,
                array_agg(amount ORDER BY line) AS amounts, min(at) AS first, max(at) AS last
            FROM billing.entries GROUP BY transfer_id
        ) AS e ON e.transfer_id = t.id
        WHERE CASE WHEN t.state = 'posted'
            THEN (coalesce(e.account_ids, '{}'), coalesce(e.amounts, '{}')) IS DISTINCT FROM (t.account_ids, t.amounts)
                OR e.first <> t.settled_at OR e.last <> t.settled_at
            ELSE e.transfer_id IS NOT NULL END
        ORDER BY t.id LIMIT 1
    """,
    "every balance follows from the one before it, and no wallet's is ever below zero": """
        SELECT 'entry ' || transfer_id || '/' || line, 'number ' || coalesce(number::text, 'none') || ' of ' || kind
            || ' ' || account_id || ' leaves ' || coalesce(balance_after::text, 'nothing noted') || ' where number '
            || place || ' leaves ' || total
        FROM (
            SELECT e.*, a.kind, row_number() OVER chain AS place, sum(e.amount) OVER chain AS total,
                lag(e.at) OVER chain AS before
            FROM billing.entries AS e JOIN billing.accounts AS a ON a.id = e.account_id AND a.owner_id IS NOT NULL
            WINDOW chain AS (PARTITION BY e.account_id ORDER BY e.number ROWS UNBOUNDED PRECEDING)
        ) AS chained
        WHERE (number, balance_after) IS DISTINCT FROM (place, total) OR at < before OR (kind = 'wallet' AND total < 0)
        ORDER BY account_id, place LIMIT 1
    """,
    "only a user's accounts number their entries": """
        SELECT 'entry ' || e.transfer_id || '/' || e.line, 'it has number ' || e.number || ' on ' || a.kind
        FROM billing.entries AS e JOIN billing.accounts AS a ON a.id = e.account_id
        WHERE a.owner_id IS NULL AND (e.number IS NOT NULL OR e.balance_after IS NOT NULL)
        ORDER BY e.transfer_id, e.line LIMIT 1
    """,
    "every account's figures are the sums of its entries and holds": """
        SELECT a.kind || ' ' || a.id, 'it has balance ' || coalesce(a.balance::text, 'none') || ', held ' || a.held
            || ', lines ' || a.lines || '; its entries and holds give ' || coalesce(e.total, 0) || ', '
            || coalesce(h.held, 0) || ', ' || coalesce(e.lines, 0)
        FROM billing.accounts AS a
        LEFT JOIN (
            SELECT account_id, sum(amount) AS total, count(*) AS lines FROM billing.entries
            WHERE number IS NOT NULL GROUP BY account_id
        ) AS e ON e.account_id = a.id
        LEFT JOIN (
            SELECT l.account_id, -sum(l.amount) AS held
            FROM billing.transfers AS t CROSS JOIN unnest(t.account_ids, t.amounts) AS l (account_id, amount)
            WHERE t.state = 'pending' AND l.amount < 0 GROUP BY l.account_id
        ) AS h ON h.account_id = a.id AND a.kind = 'wallet'
        WHERE (a.balance, a.held, a.lines) IS DISTINCT FROM (
                CASE WHEN a.owner_id IS NOT NULL THEN coalesce(e.total, 0) END, coalesce(h.held, 0),
                coalesce(e.lines, 0)
            ) OR (a.kind = 'wallet' AND a.balance - a.held < 0)
        ORDER BY a.id LIMIT 1
    """,
    "every adjustment was applied by its own transfer": """
        SELECT 'adjustment ' || j.id, 'it is ' || j.state || ' with ' || j.amount || ', its transfer moved '
            || coalesce(t.amounts[array_position(t.account_ids, a.id)]::text, 'nothing')
        FROM billing.adjustments AS j
        LEFT JOIN billing.transfers AS t ON t.id = j.transfer_id AND t.key = 'adjustment:' || j.id
        LEFT JOIN billing.accounts AS a ON a.tenant_id = j.tenant_id AND a.kind = 'wallet' AND a.owner_id = j.user_id
            AND a.currency = j.currency
        WHERE CASE WHEN j.state = 'applied'
            THEN t.amounts[array_position(t.account_ids, a.id)] IS DISTINCT FROM j.amount OR t.state <> 'posted'
                OR j.decided_by = j.requested_by
            ELSE j.transfer_id IS NOT NULL END
        ORDER BY j.id LIMIT 1
    """,
}
"""Each says the first row that fails it, and how."""


async def verify(database: Database) -> Verification:
    """Takes as long as it takes: no statement of it has a time limit. Writers are not held up."""
    async with database.reading() as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        await session.execute(text("SET LOCAL work_mem = '64MB'"))
        return await examine(session)


async def examine(session: AsyncSession) -> Verification:
    """In whatever snapshot the session has."""
    counts = (await session.execute(text(_COUNTS))).one()
    wrong: list[Wrong] = []
    for check, sql in CHECKS.items():
        if found := (await session.execute(text(sql))).one_or_none():
            wrong.append(Wrong(check=check, row=found[0], says=found[1]))
    return Verification(accounts=counts.accounts, transfers=counts.transfers, entries=counts.entries, wrong=wrong)
