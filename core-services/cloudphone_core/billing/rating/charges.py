"""Charges: what closed runs cost, kept so that the same facts always come to the same sum.

What is on no invoice is replaced by what the facts say now; what is on one stays, and is corrected: taken back by its
negative, charged anew as it is right. So over any history, invoiced and open charges add up to what the runs cost.
Each function works in the caller's transaction and holds the users' locks until its end.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, delete, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database import Announcement, announce_all, copy_rows
from cloudphone_shared.errors import Conflict
from cloudphone_shared.events.billing import CostChanged

from ..periods import month_of
from .budgets import check_soon
from .models import ChargeRow, DueRow
from .rate import Part, Run, Tariffs, Term, rate
from .rules import tariffs_of
from .terms import Use, affected, moment, second, terms_of

BATCH = 50
"""Marks that one transaction works off."""


class Due(NamedTuple):
    """A user's device, to be rated anew from `since` on."""

    user_id: UUID
    device_id: UUID
    since: datetime


class Key(NamedTuple):
    """What a charge says, beside whether it takes back."""

    tenant_id: UUID
    run_id: UUID
    started_at: datetime
    stopped_at: datetime
    subscription_id: UUID | None
    period_start: datetime | None
    rule_id: UUID | None
    rule_revision: int | None
    rate: Decimal
    worth: Decimal
    currency: str | None
    included: bool
    description: str


class Signed(NamedTuple):
    """A charge (`sign` 1) or what takes one back (-1)."""

    key: Key
    sign: int
    correction: bool


class Known(NamedTuple):
    """A use's charges as they stand: `net` of those on invoices; `open` ones with their ids."""

    net: dict[Key, int]
    open: dict[Signed, int]


class Ran(NamedTuple):
    """A use's closed runs, and each one's tenant."""

    runs: list[Run]
    tenants: dict[UUID, UUID]


async def open_charges(session: AsyncSession, user_id: UUID, until: datetime) -> Sequence[ChargeRow]:
    """Those of closed runs that are on no invoice, their time over by `until`; in time order, corrections among them.

    What was told of the user's runs is rated first. Nobody changes them before the transaction ends.
    """
    await _one_at_a_time(session, [user_id])
    # Left where they are: a worker that has them in hand may be waiting for this very user.
    due = await session.execute(select(DueRow.user_id, DueRow.device_id, DueRow.since).where(DueRow.user_id == user_id))
    await _rate(session, [Due(*row) for row in due])
    statement = (
        select(ChargeRow)
        .where(
            ChargeRow.user_id == user_id,
            ChargeRow.invoice_id.is_(None),
            ChargeRow.currency.is_not(None),
            ChargeRow.stopped_at <= until,
        )
        .order_by(ChargeRow.started_at, ChargeRow.id)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).all()


async def claim(session: AsyncSession, invoice_id: UUID, lines: Mapping[int, Sequence[int]]) -> None:
    """Puts charges that `open_charges` gave on an invoice: `lines` has their ids by the number of their line.

    Raises Conflict where one is on an invoice already.
    """
    charges = [charge_id for ids in lines.values() for charge_id in ids]
    if not charges:
        return
    numbers = [number for number, ids in lines.items() for _ in ids]
    result: Any = await session.execute(_CLAIM, {"invoice": invoice_id, "charges": charges, "numbers": numbers})
    if result.rowcount != len(charges):
        raise Conflict("A charge is on an invoice already")


_CLAIM = text("""
    UPDATE billing.charges AS c SET invoice_id = :invoice, line_number = l.number
    FROM unnest(CAST(:charges AS bigint[]), CAST(:numbers AS bigint[])) AS l (charge_id, number)
    WHERE c.id = l.charge_id AND c.invoice_id IS NULL
""")


async def rate_due(session: AsyncSession, batch: int = BATCH) -> int:
    """How many marks were worked off, the oldest first; those that another worker has in hand are left to it."""
    oldest = select(DueRow).order_by(DueRow.id).limit(batch).with_for_update(skip_locked=True)
    marks = (await session.scalars(oldest)).all()
    if marks:
        await _one_at_a_time(session, [mark.user_id for mark in marks])
        await _rate(session, [Due(mark.user_id, mark.device_id, mark.since) for mark in marks])
        await session.execute(delete(DueRow).where(_among(DueRow.id, [mark.id for mark in marks])))
    return len(marks)


async def _one_at_a_time(session: AsyncSession, user_ids: Iterable[UUID]) -> None:
    # All in one order, so that no two wait for each other.
    ordered = """
        SELECT pg_advisory_xact_lock(key) FROM (
            SELECT DISTINCT hashtextextended('charges:' || u, 0) AS key
            FROM unnest(CAST(:users AS text[])) AS u ORDER BY key
        ) AS keys
    """
    await session.execute(text(ordered), {"users": [str(user_id) for user_id in user_ids]})


async def _rate(session: AsyncSession, marks: Sequence[Due]) -> None:
    """Brings the charges of what is marked to what is known of the runs, the terms and the rules."""
    if not marks:
        return
    due: dict[Use, int] = {}
    for mark in marks:
        use = mark.user_id, mark.device_id
        due[use] = min(due.get(use, second(mark.since)), second(mark.since))
    terms = await terms_of(session, due)
    ran = await _ran(session, due, terms)
    tariffs = await tariffs_of(session, {term.rule_id for held in terms.values() for term in held if term.rule_id})
    known = await _known(session, due)
    missing: list[dict[str, Any]] = []
    stale: list[int] = []
    for use in due:
        wanted = _wanted(ran[use], terms[use], tariffs)
        right = _open(wanted, known[use].net)
        stale += [row_id for signed, row_id in known[use].open.items() if signed not in right]
        missing += [_row(use, signed) for signed in right if signed not in known[use].open]
        # Others of the process have their turn.
        await asyncio.sleep(0)
    if stale:
        await session.execute(delete(ChargeRow).where(_among(ChargeRow.id, stale)))
    await copy_rows(session, ChargeRow, missing)
    await check_soon(session, {user_id for user_id, _ in due})
    await announce_all(session, list(_announcements(marks, ran)))


async def _ran(session: AsyncSession, due: dict[Use, int], terms: Mapping[Use, Sequence[Term]]) -> dict[Use, Ran]:
    """The runs from where `due` reaches back to, which is to the start of a period and never into a run."""
    found: dict[Use, Ran] = {}
    unread = dict(due)
    while unread:
        for use, since in unread.items():
            due[use] = affected(terms[use], since)
        read = await _read_runs(session, {use: due[use] for use in unread})
        unread = {}
        for use, ran in read.items():
            found[use] = ran
            if ran.runs and ran.runs[0].start < due[use]:
                unread[use] = ran.runs[0].start
    return found


RUNS = """
    SELECT u.user_id, u.device_id, r.run_id, r.tenant_id, r.started_at, r.stopped_at
    FROM unnest(CAST(:users AS uuid[]), CAST(:devices AS uuid[]), CAST(:since AS timestamptz[]))
        AS u (user_id, device_id, since)
    JOIN billing.usage_records AS r ON r.device_id = u.device_id AND r.user_id = u.user_id AND r.started_at >= coalesce(
        (SELECT max(b.started_at) FROM billing.usage_records AS b
         WHERE b.device_id = u.device_id AND b.user_id = u.user_id AND b.started_at <= u.since), u.since)
    WHERE r.stopped_at > u.since
    ORDER BY r.started_at
"""


async def _read_runs(session: AsyncSession, since: Mapping[Use, int]) -> dict[Use, Ran]:
    found = {use: Ran([], {}) for use in since}
    for row in await session.execute(text(RUNS), _asked(since)):
        ran = found[row.user_id, row.device_id]
        ran.runs.append(Run(row.run_id, second(row.started_at), second(row.stopped_at)))
        ran.tenants[row.run_id] = row.tenant_id
    return found


def _asked(since: Mapping[Use, int]) -> dict[str, list[Any]]:
    return {
        "users": [user for user, _ in since],
        "devices": [device for _, device in since],
        "since": [moment(start) for start in since.values()],
    }


async def _known(session: AsyncSession, since: Mapping[Use, int]) -> dict[Use, Known]:
    found = {use: Known(defaultdict(int), {}) for use in since}
    for row in await session.execute(text(_KNOWN), _asked(since)):
        known = found[row.user_id, row.device_id]
        sign = 1 if row.seconds > 0 else -1
        key = Key(*(getattr(row, name) for name in Key._fields))._replace(worth=abs(row.worth))
        if row.invoice_id is None:
            known.open[Signed(key, sign, row.correction)] = row.id
        else:
            known.net[key] += sign
    return found


_KNOWN = f"""
    SELECT u.user_id, u.device_id, c.id, c.seconds, c.correction, c.invoice_id, {", ".join(Key._fields)}
    FROM unnest(CAST(:users AS uuid[]), CAST(:devices AS uuid[]), CAST(:since AS timestamptz[]))
        AS u (user_id, device_id, since)
    JOIN billing.charges AS c ON c.device_id = u.device_id AND c.user_id = u.user_id AND c.started_at >= u.since
"""  # noqa: S608


def _wanted(ran: Ran, terms: Sequence[Term], tariffs: Tariffs) -> list[Key]:
    return [_key(part, ran.tenants[part.run_id]) for part in rate(ran.runs, terms, tariffs)]


def _key(part: Part, tenant_id: UUID) -> Key:
    term, tariff = part.term, part.tariff
    return Key(
        tenant_id=tenant_id,
        run_id=part.run_id,
        started_at=moment(part.start),
        stopped_at=moment(part.end),
        subscription_id=term and term.subscription_id,
        period_start=moment(term.period_start) if term else None,
        rule_id=tariff and tariff.rule_id,
        rule_revision=tariff and tariff.revision,
        rate=part.rate,
        worth=part.worth,
        currency=term and term.currency,
        included=part.included,
        description=part.says,
    )


def _open(wanted: Iterable[Key], invoiced: Mapping[Key, int]) -> set[Signed]:
    """What is to stand beside the invoiced charges, so that all add up to what is wanted."""
    lacking = dict.fromkeys(wanted, 1)
    for key, net in invoiced.items():
        lacking[key] = lacking.get(key, 0) - net
    spans: defaultdict[UUID, list[Key]] = defaultdict(list)
    for key in invoiced:
        spans[key.run_id].append(key)
    return {
        Signed(key, sign, sign < 0 or _overlaps(key, spans.get(key.run_id, ())))
        for key, sign in lacking.items()
        if sign != 0
    }


def _overlaps(key: Key, invoiced: Iterable[Key]) -> bool:
    return any(key.started_at < other.stopped_at and other.started_at < key.stopped_at for other in invoiced)


def _row(use: Use, signed: Signed) -> dict[str, Any]:
    key, sign = signed.key, signed.sign
    seconds = int((key.stopped_at - key.started_at).total_seconds())
    return {
        **key._asdict(),
        "user_id": use[0],
        "device_id": use[1],
        "seconds": sign * seconds,
        "worth": key.worth if sign > 0 else -key.worth,
        "correction": signed.correction,
    }


def _among(column: Any, ids: Sequence[int]) -> ColumnElement[bool]:
    # As one parameter, however many they are.
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def _announcements(marks: Iterable[Due], ran: Mapping[Use, Ran]) -> Iterable[Announcement]:
    since: dict[UUID, datetime] = {}
    for mark in marks:
        since[mark.user_id] = min(since.get(mark.user_id, mark.since), mark.since)
    tenants = {use[0]: tenant for use, one in ran.items() for tenant in one.tenants.values()}
    for user_id, first in since.items():
        event = CostChanged(user_id=user_id, period_start=month_of(first).start, tenant_id=tenants.get(user_id))
        yield Announcement(event=event, entities=[entities.cost_of(user_id)])
