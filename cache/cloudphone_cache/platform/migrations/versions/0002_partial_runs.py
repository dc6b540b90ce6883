"""A run of which some views failed is partial, and says so."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATES = "state IN ('queued', 'running', 'succeeded', 'partial', 'failed')"


def upgrade() -> None:
    for name in ("state_known", "ck_runs_state_known"):
        op.execute(f"ALTER TABLE warmup.runs DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE warmup.runs ADD CONSTRAINT ck_runs_state_known CHECK ({_STATES})")
