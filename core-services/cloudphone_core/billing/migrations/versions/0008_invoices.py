"""Invoices, their numbers and lines, tax rates."""

revision = "billing_0008"
down_revision = "billing_0007"


def upgrade() -> None:
    """Nothing yet."""
