"""Plans in immutable versions, and coupons."""
