"""Payments, refunds, disputes, webhooks and reconciliations."""

revision = "billing_0006"
down_revision = "billing_0005"


def upgrade() -> None:
    """Nothing yet."""
