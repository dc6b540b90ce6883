"""What was told of a run beside what follows from it; arrears; the devices that orders ask for."""

from alembic import op

revision = "billing_0002"
down_revision = "billing_0001"

RUNS = (
    """
    ALTER TABLE billing.usage_records
        ALTER COLUMN user_id DROP NOT NULL,
        ADD COLUMN told_stopped_at timestamptz,
        ADD COLUMN told_by varchar(10),
        ADD COLUMN seen_at timestamptz,
        ADD COLUMN asked_at timestamptz,
        ADD CONSTRAINT ck_usage_records_told_by_somebody CHECK ((told_stopped_at IS NULL) = (told_by IS NULL))
    """,
    "UPDATE billing.usage_records SET told_stopped_at = stopped_at, told_by = closed_by WHERE stopped_at IS NOT NULL",
    """
    CREATE INDEX ix_usage_records_unsettled ON billing.usage_records (asked_at NULLS FIRST)
    WHERE told_by IS NULL OR told_by = 'reconcile'
    """,
    "ALTER TABLE billing.usage_adjustments ALTER COLUMN stopped_at DROP NOT NULL",
)

TABLES = (
    """
    CREATE TABLE billing.arrears (
        user_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        reason text NOT NULL,
        since timestamptz NOT NULL,
        CONSTRAINT pk_arrears PRIMARY KEY (user_id)
    )
    """,
    "CREATE INDEX ix_arrears_tenant_id_since_user_id ON billing.arrears (tenant_id, since, user_id)",
    """
    CREATE TABLE billing.order_allocations (
        order_id uuid NOT NULL,
        state varchar(10) NOT NULL,
        deadline_at timestamptz NOT NULL,
        device_id uuid,
        allocation_id uuid,
        fencing_token bigint,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_order_allocations PRIMARY KEY (order_id),
        CONSTRAINT fk_order_allocations_order_id FOREIGN KEY(order_id) REFERENCES billing.orders (id),
        CONSTRAINT ck_order_allocations_known_state CHECK (state IN ('requested', 'held', 'failed', 'released')),
        CONSTRAINT ck_order_allocations_held_by_token CHECK (
            state <> 'held' OR (device_id IS NOT NULL AND allocation_id IS NOT NULL AND fencing_token IS NOT NULL)
        )
    )
    """,
    """
    CREATE INDEX ix_order_allocations_waiting ON billing.order_allocations (deadline_at) WHERE state = 'requested'
    """,
)


def upgrade() -> None:
    for statement in (*RUNS, *TABLES):
        op.execute(statement)
