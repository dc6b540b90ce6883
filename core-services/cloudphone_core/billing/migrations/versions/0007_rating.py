"""Rules, charges, budgets, and the events that runs rest on."""

revision = "billing_0007"
down_revision = "billing_0006"


def upgrade() -> None:
    """Nothing yet."""
