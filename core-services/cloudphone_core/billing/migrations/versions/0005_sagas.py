"""Sagas and their steps."""

revision = "billing_0005"
down_revision = "billing_0004"


def upgrade() -> None:
    """Nothing yet."""
