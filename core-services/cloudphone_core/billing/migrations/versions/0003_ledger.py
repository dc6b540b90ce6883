"""Accounts, transfers and entries."""

revision = "billing_0003"
down_revision = "billing_0002"


def upgrade() -> None:
    """Nothing yet."""
