"""What is to be paid. Exact, then rounded once, half-even, to whole minor units."""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from .models import CouponRow


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Minor units, taxes contained. `amount` = `list_price` - `discount` is never negative."""

    list_price: int
    discount: int
    currency: str

    @property
    def amount(self) -> int:
        return self.list_price - self.discount


def whole(amount: Decimal) -> int:
    """Whole minor units, half-even: a rounding that favours neither side."""
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def price(list_price: int, currency: str, coupon: CouponRow | None) -> Price:
    return Price(list_price=list_price, discount=_discount(list_price, coupon), currency=currency)


def _discount(list_price: int, coupon: CouponRow | None) -> int:
    if coupon is None:
        return 0
    if coupon.percent is not None:
        return whole(Decimal(list_price) * coupon.percent / 100)
    return min(coupon.amount or 0, list_price)
