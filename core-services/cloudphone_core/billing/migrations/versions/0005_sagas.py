"""Sagas and their steps."""

from alembic import op

revision = "billing_0005"
down_revision = "billing_0004"

TABLES = (
    """
    CREATE TABLE billing.sagas (
        id uuid NOT NULL,
        kind varchar(20) NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        order_id uuid,
        state varchar(12) NOT NULL,
        step varchar(20) NOT NULL,
        attempts bigint NOT NULL,
        notes bigint NOT NULL,
        data jsonb NOT NULL,
        request_hash bytea,
        failure text,
        refusal jsonb,
        cancel_reason text,
        wake_at timestamptz,
        deadline_at timestamptz,
        lease_token uuid,
        alarmed_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_sagas PRIMARY KEY (id),
        CONSTRAINT ck_sagas_known_state CHECK (
            state IN ('running', 'waiting', 'compensating', 'completed', 'compensated')
        ),
        CONSTRAINT ck_sagas_wakes_until_its_end CHECK (
            (state IN ('completed', 'compensated')) = (wake_at IS NULL)
        ),
        CONSTRAINT ck_sagas_leased_while_it_lives CHECK (lease_token IS NULL OR wake_at IS NOT NULL)
    )
    """,
    "CREATE INDEX ix_sagas_wake_at ON billing.sagas (wake_at) WHERE wake_at IS NOT NULL",
    "CREATE INDEX ix_sagas_alarmed_at ON billing.sagas (alarmed_at) WHERE alarmed_at IS NOT NULL",
    "CREATE INDEX ix_sagas_created_at_id ON billing.sagas (created_at, id)",
    "CREATE INDEX ix_sagas_tenant_id_created_at_id ON billing.sagas (tenant_id, created_at, id)",
    "CREATE INDEX ix_sagas_user_id_created_at_id ON billing.sagas (user_id, created_at, id)",
    "CREATE INDEX ix_sagas_order_id ON billing.sagas (order_id)",
    """
    CREATE TABLE billing.saga_steps (
        saga_id uuid NOT NULL,
        number bigint NOT NULL,
        step varchar(20) NOT NULL,
        direction varchar(7) NOT NULL,
        outcome varchar(7),
        detail text,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT pk_saga_steps PRIMARY KEY (saga_id, number),
        CONSTRAINT fk_saga_steps_saga_id FOREIGN KEY(saga_id) REFERENCES billing.sagas (id),
        CONSTRAINT ck_saga_steps_ends_with_an_outcome CHECK ((outcome IS NULL) = (ended_at IS NULL))
    )
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
