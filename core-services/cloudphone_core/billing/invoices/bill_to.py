"""To whom invoices go, by which taxes, and on whose terms. Each function works in the caller's transaction."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.invoice import (
    BillTo,
    BillToSet,
    InvoiceTerms,
    InvoiceTermsSet,
    TaxRate,
    TaxRateCreate,
)
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.database.pagination import Cursors, Sorts, equal, page
from cloudphone_shared.errors import Conflict, FieldError, Forbidden, Invalid
from cloudphone_shared.events.billing import BillToChanged
from cloudphone_shared.http.lists import ListQuery
from cloudphone_shared.ids import uuid7

from ..models import CopyRow
from .models import BillToRow, InvoiceTermsRow, TaxRateRow

STANDARD_TERMS = InvoiceTerms(
    days_to_pay=14, days_to_freeze=7, seller="Cloudphone", seller_tax_number=None, seller_country=None
)
_ONE_COUNTRY_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('billing.tax-rates ' || :country, 0))")
_THOUSANDTH = Decimal("0.001")
_SORTS = Sorts(
    {"country": TaxRateRow.country, "validFrom": TaxRateRow.valid_from, "createdAt": TaxRateRow.created_at},
    tiebreak=TaxRateRow.id,
    default="country,-validFrom",
)


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an invoice is for. `name` and `email` as their owner tells them; None where they were never heard of."""

    tenant_id: UUID
    user_id: UUID
    name: str | None = None
    email: str | None = None


async def customer(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> Customer:
    """As last heard of from the user service."""
    known = await session.get(CopyRow, entities.user(user_id))
    return Customer(tenant_id=tenant_id, user_id=user_id, name=known and known.name, email=known and known.email)


async def bill_to(session: AsyncSession, who: Customer, at: datetime) -> BillTo:
    """As it stood at `at`; the customer's own name where nothing was set."""
    row = await session.scalar(
        select(BillToRow)
        .where(BillToRow.tenant_id == who.tenant_id, BillToRow.user_id == who.user_id, BillToRow.set_at <= at)
        .order_by(BillToRow.set_at.desc(), BillToRow.id.desc())
        .limit(1)
    )
    if row is None:
        name = who.name or f"Customer {who.user_id}"
        return BillTo(name=name, email=who.email, address=None, country=None, tax_number=None)
    return BillTo(name=row.name, email=who.email, address=row.address, country=row.country, tax_number=row.tax_number)


async def shown_bill_to(session: AsyncSession, who: Customer, at: datetime) -> Answer[BillTo]:
    shown = await versions_of(session, entities.bill_to(who.user_id))
    return Answer(data=await bill_to(session, who, at), entities=shown)


async def set_bill_to(session: AsyncSession, who: Customer, wanted: BillToSet, at: datetime) -> None:
    """For what is bought and used from now on; what was issued stays as it is."""
    same = await bill_to(session, who, at)
    if (same.name, same.address, same.country, same.tax_number) == (
        wanted.name, wanted.address, wanted.country, wanted.tax_number,
    ):  # fmt: skip
        return
    session.add(
        BillToRow(
            tenant_id=who.tenant_id,
            user_id=who.user_id,
            name=wanted.name,
            address=wanted.address,
            country=wanted.country,
            tax_number=wanted.tax_number,
            set_at=at,
        )
    )
    event = BillToChanged(user_id=who.user_id, tenant_id=who.tenant_id)
    await announce(session, event, entities.bill_to(who.user_id))


async def terms_of(session: AsyncSession, tenant_id: UUID) -> InvoiceTerms:
    row = await session.get(InvoiceTermsRow, tenant_id)
    return STANDARD_TERMS if row is None else msgspec.convert(row, InvoiceTerms, from_attributes=True)


async def set_terms(session: AsyncSession, tenant_id: UUID, wanted: InvoiceTermsSet, at: datetime) -> InvoiceTerms:
    """For invoices issued from now on."""
    given = {name: getattr(wanted, name) for name in InvoiceTerms.__struct_fields__}
    known = await terms_of(session, tenant_id)
    terms = msgspec.structs.replace(known, **{name: value for name, value in given.items() if value is not UNSET})
    values = {**msgspec.structs.asdict(terms), "updated_at": at}
    anew = insert(InvoiceTermsRow).values(tenant_id=tenant_id, **values)
    await session.execute(anew.on_conflict_do_update(index_elements=[InvoiceTermsRow.tenant_id], set_=values))
    return terms


async def create_tax_rate(session: AsyncSession, caller: Caller, new: TaxRateCreate, at: datetime) -> TaxRate:
    """A country's first may begin in the past; any further one begins after those known and no earlier than today.

    So what was sold at a rate is not sold at another afterwards. Raises Conflict, Invalid, Forbidden.
    """
    if caller.data_scope != "all":
        raise Forbidden("Tax rates are the same for all tenants: only who sees them all may change them")
    if not new.percent.is_finite() or not 0 <= new.percent <= 100 or new.percent != new.percent.quantize(_THOUSANDTH):
        message = "must be from 0 to 100, with at most three decimal places"
        raise Invalid(f"percent {message}", errors=[FieldError(field="percent", message=message)])
    await session.execute(_ONE_COUNTRY_AT_A_TIME, {"country": new.country})
    latest = await session.scalar(select(func.max(TaxRateRow.valid_from)).where(TaxRateRow.country == new.country))
    today = at.astimezone(UTC).date()
    if latest is not None and (new.valid_from <= latest or new.valid_from < today):
        raise Conflict(f"A further rate of {new.country} begins after {latest} and no earlier than {today}")
    row = TaxRateRow(
        id=uuid7(),
        country=new.country,
        name=new.name,
        percent=new.percent,
        valid_from=new.valid_from,
        created_at=at,
    )
    session.add(row)
    await session.flush()
    return msgspec.convert(row, TaxRate, from_attributes=True)


async def tax_rate_page(
    session: AsyncSession, asked: ListQuery, cursors: Cursors, *, country: str | None
) -> Page[TaxRate]:
    found = await page(
        session,
        select(TaxRateRow).where(*equal((TaxRateRow.country, country))),
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"tax rates {country}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    items = [msgspec.convert(row, TaxRate, from_attributes=True) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


async def names_of(session: AsyncSession, country: str | None, at: datetime) -> dict[Decimal, str]:
    """What a country's rates are called, by percentage."""
    rows = await session.execute(
        select(TaxRateRow.percent, TaxRateRow.name)
        .where(TaxRateRow.country == country, TaxRateRow.valid_from <= at.astimezone(UTC).date())
        .order_by(TaxRateRow.valid_from)
    )
    return {row.percent: row.name for row in rows}
