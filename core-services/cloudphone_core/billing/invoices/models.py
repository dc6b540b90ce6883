"""The tables of invoices. What was issued stays: triggers refuse to change it."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..models import SCHEMA, Base, Moment


class TaxRateRow(Base):
    """In force from `valid_from` (UTC) until the country's next one."""

    __tablename__ = "tax_rates"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(String(2))
    name: Mapped[str]
    percent: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    valid_from: Mapped[date]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("percent >= 0 AND percent <= 100", name="a_share"),
        UniqueConstraint("country", "valid_from", name="uq_tax_rates_country_valid_from"),
        {"schema": SCHEMA},
    )


class BillToRow(Base):
    """To whom a user's invoices go from `set_at` on, until the user's next row."""

    __tablename__ = "bill_tos"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    name: Mapped[str]
    address: Mapped[str | None]
    country: Mapped[str | None] = mapped_column(String(2))
    tax_number: Mapped[str | None]
    set_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index(None, "user_id", "set_at", "id"), {"schema": SCHEMA})
