"""The tables of plans and coupons."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from ..models import SCHEMA, Base, Moment

CouponUseState = Literal["held", "used", "released"]


class PlanRow(Base):
    """What is sold. `revision` and the figures beside it are those of its newest version, put here by the database
    when that version is inserted; nobody else writes them."""

    __tablename__ = "plans"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    period_days: Mapped[int]
    included_hours: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int]
    template_id: Mapped[UUID | None]
    rule_id: Mapped[UUID | None]
    grace_days: Mapped[int]

    __table_args__ = (CheckConstraint("price >= 0", name="price_not_negative"), {"schema": SCHEMA})


class PlanVersionRow(Base):
    """The terms that an order is made at. The database refuses to change one, and to delete one that was ordered."""

    __tablename__ = "plan_versions"

    plan_id: Mapped[UUID] = mapped_column(ForeignKey(PlanRow.id), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    period_days: Mapped[int]
    included_hours: Mapped[int]
    template_id: Mapped[UUID | None]
    rule_id: Mapped[UUID | None]
    grace_days: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("price >= 0", name="price_not_negative"),
        CheckConstraint("period_days >= 1", name="lasts"),
        CheckConstraint("grace_days >= 0", name="grace_not_negative"),
        {"schema": SCHEMA},
    )


class CouponRow(Base):
    """`uses` counts the rows of coupon_uses that are not released; the database bounds it by `most_uses`."""

    __tablename__ = "coupons"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    percent: Mapped[int | None]
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(3))
    plan_id: Mapped[UUID | None] = mapped_column(ForeignKey(PlanRow.id))
    valid_from: Mapped[datetime] = mapped_column(Moment)
    valid_until: Mapped[datetime | None] = mapped_column(Moment)
    most_uses: Mapped[int | None]
    uses_per_user: Mapped[int]
    uses: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("(percent IS NULL) <> (amount IS NULL)", name="takes_one_thing_off"),
        CheckConstraint("(amount IS NULL) = (currency IS NULL)", name="amount_in_a_currency"),
        CheckConstraint("percent BETWEEN 1 AND 100 AND amount >= 1", name="takes_something_off"),
        CheckConstraint("uses >= 0 AND uses <= most_uses", name="uses_within_bounds"),
        Index(None, "created_at", "id"),
        {"schema": SCHEMA},
    )


class CouponUseRow(Base):
    """One purchase's use of a coupon. `order_id` is a purchase's; it is released when that comes to nothing."""

    __tablename__ = "coupon_uses"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    coupon_id: Mapped[UUID] = mapped_column(ForeignKey(CouponRow.id))
    user_id: Mapped[UUID]
    state: Mapped[CouponUseState] = mapped_column(String(10))
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("state IN ('held', 'used', 'released')", name="known_state"),
        Index("ix_coupon_uses_standing", "coupon_id", "user_id", postgresql_where=text("state <> 'released'")),
        {"schema": SCHEMA},
    )
