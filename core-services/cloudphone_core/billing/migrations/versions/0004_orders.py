"""Plan versions, coupons, order events, subscriptions."""

revision = "billing_0004"
down_revision = "billing_0003"


def upgrade() -> None:
    """Nothing yet."""
