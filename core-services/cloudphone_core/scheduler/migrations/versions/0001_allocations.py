"""The fleet as it is known, requests, allocations, rings."""

from alembic import op

from cloudphone_shared.database import create_common_tables

revision = "scheduler_0001"
down_revision = None

TABLES = (
    "CREATE SEQUENCE scheduler.fencing_tokens",
    "CREATE SEQUENCE scheduler.services",
    """
    CREATE TABLE scheduler.devices (
        id UUID NOT NULL,
        version BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        tenant_id UUID,
        node_id UUID,
        template_id UUID,
        state VARCHAR(20) NOT NULL,
        deleted BOOLEAN NOT NULL,
        stale BOOLEAN NOT NULL,
        allocation_id UUID,
        rest_until TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_devices PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_devices_free ON scheduler.devices (tenant_id, node_id, template_id, id)
    WHERE state = 'idle' AND allocation_id IS NULL AND NOT deleted
    """,
    "CREATE INDEX ix_devices_node_id ON scheduler.devices (node_id, tenant_id)",
    "CREATE INDEX ix_devices_stale ON scheduler.devices (id) WHERE stale",
    """
    CREATE TABLE scheduler.nodes (
        id UUID NOT NULL,
        version BIGINT NOT NULL,
        name TEXT NOT NULL,
        region TEXT NOT NULL,
        status VARCHAR(20) NOT NULL,
        capacity BIGINT NOT NULL,
        weight BIGINT NOT NULL,
        labels JSONB NOT NULL,
        deleted BOOLEAN NOT NULL,
        stale BOOLEAN NOT NULL,
        health VARCHAR(20) NOT NULL,
        last_heartbeat_at TIMESTAMP WITH TIME ZONE,
        report JSONB,
        live BIGINT NOT NULL,
        CONSTRAINT pk_nodes PRIMARY KEY (id),
        CONSTRAINT ck_nodes_live_not_negative CHECK (live >= 0)
    )
    """,
    """
    CREATE INDEX ix_nodes_live ON scheduler.nodes (live, id)
    WHERE status = 'online' AND health = 'online' AND NOT deleted
    """,
    "CREATE INDEX ix_nodes_stale ON scheduler.nodes (id) WHERE stale",
    """
    CREATE TABLE scheduler.requests (
        id UUID NOT NULL,
        seq BIGINT GENERATED ALWAYS AS IDENTITY,
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        order_id UUID,
        saga_id UUID,
        constraints JSONB NOT NULL,
        pool TEXT NOT NULL,
        strategy VARCHAR(20) NOT NULL,
        state VARCHAR(20) NOT NULL,
        lease_seconds BIGINT,
        deadline_at TIMESTAMP WITH TIME ZONE NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        allocation_id UUID,
        failure TEXT,
        replied VARCHAR(20),
        CONSTRAINT pk_requests PRIMARY KEY (id),
        CONSTRAINT uq_requests_seq UNIQUE (seq),
        CONSTRAINT uq_requests_saga_id UNIQUE (saga_id)
    )
    """,
    "CREATE INDEX ix_requests_created_at ON scheduler.requests (created_at, id)",
    "CREATE INDEX ix_requests_deadline_at ON scheduler.requests (deadline_at) WHERE state = 'queued'",
    "CREATE INDEX ix_requests_queued ON scheduler.requests (tenant_id, pool, seq) WHERE state = 'queued'",
    """
    CREATE TABLE scheduler.rings (
        tenant_id UUID NOT NULL,
        key TEXT NOT NULL,
        clock BIGINT NOT NULL,
        sites_seen BIGINT NOT NULL,
        used_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_rings PRIMARY KEY (tenant_id, key)
    )
    """,
    """
    CREATE TABLE scheduler.settings (
        single BOOLEAN NOT NULL,
        strategy VARCHAR(20) NOT NULL,
        synchronized_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_settings PRIMARY KEY (single),
        CONSTRAINT ck_settings_one_row CHECK (single)
    )
    """,
    """
    CREATE TABLE scheduler.sites (
        tenant_id UUID NOT NULL,
        node_id UUID NOT NULL,
        seq BIGINT GENERATED ALWAYS AS IDENTITY,
        CONSTRAINT pk_sites PRIMARY KEY (tenant_id, node_id)
    )
    """,
    "CREATE INDEX ix_sites_tenant_id_seq ON scheduler.sites (tenant_id, seq)",
    """
    CREATE TABLE scheduler.templates (
        id UUID NOT NULL,
        version BIGINT NOT NULL,
        abis TEXT[] NOT NULL,
        stale BOOLEAN NOT NULL,
        CONSTRAINT pk_templates PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE scheduler.tenants (
        id UUID NOT NULL,
        served BIGINT NOT NULL,
        CONSTRAINT pk_tenants PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE scheduler.turns (
        tenant_id UUID NOT NULL,
        ring TEXT NOT NULL,
        node_id UUID NOT NULL,
        due BIGINT NOT NULL,
        CONSTRAINT pk_turns PRIMARY KEY (tenant_id, ring, node_id)
    )
    """,
    "CREATE INDEX ix_turns_due ON scheduler.turns (tenant_id, ring, due, node_id)",
    """
    CREATE TABLE scheduler.allocations (
        id UUID NOT NULL,
        request_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        device_id UUID NOT NULL,
        node_id UUID NOT NULL,
        order_id UUID,
        saga_id UUID,
        state VARCHAR(20) NOT NULL,
        fencing_token BIGINT NOT NULL,
        lease_until TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        ended_reason TEXT,
        CONSTRAINT pk_allocations PRIMARY KEY (id),
        CONSTRAINT fk_allocations_request_id FOREIGN KEY(request_id) REFERENCES scheduler.requests (id),
        CONSTRAINT uq_allocations_fencing_token UNIQUE (fencing_token)
    )
    """,
    "CREATE INDEX ix_allocations_created_at ON scheduler.allocations (created_at, id)",
    "CREATE INDEX ix_allocations_device_id ON scheduler.allocations (device_id, created_at, id)",
    """
    CREATE INDEX ix_allocations_lease_until ON scheduler.allocations (lease_until)
    WHERE state IN ('reserved', 'active')
    """,
    "CREATE INDEX ix_allocations_node_id ON scheduler.allocations (node_id, created_at, id)",
    "CREATE INDEX ix_allocations_request_id ON scheduler.allocations (request_id)",
    "CREATE INDEX ix_allocations_user_id ON scheduler.allocations (user_id, created_at, id)",
    """
    CREATE UNIQUE INDEX uq_allocations_device_id_live ON scheduler.allocations (device_id)
    WHERE state IN ('reserved', 'active')
    """,
    """
    CREATE UNIQUE INDEX uq_allocations_saga_id_live ON scheduler.allocations (saga_id)
    WHERE state IN ('reserved', 'active')
    """,
)


def upgrade() -> None:
    create_common_tables(op, "scheduler")
    for statement in TABLES:
        op.execute(statement)
    op.execute("INSERT INTO scheduler.settings (single, strategy) VALUES (true, 'round_robin')")
