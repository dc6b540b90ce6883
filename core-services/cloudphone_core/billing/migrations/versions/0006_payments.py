"""Payments, refunds, disputes, webhooks and reconciliations."""

from alembic import op

revision = "billing_0006"
down_revision = "billing_0005"

PAYMENTS = (
    """
    CREATE TABLE billing.payments (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        purpose varchar(10) NOT NULL,
        order_id uuid,
        method varchar(10) NOT NULL,
        amount bigint NOT NULL,
        tax bigint NOT NULL,
        captured bigint NOT NULL,
        refunding bigint NOT NULL,
        refunded bigint NOT NULL,
        currency varchar(3) NOT NULL,
        state varchar(10) NOT NULL,
        held boolean NOT NULL,
        asked varchar(10),
        asked_at timestamptz,
        attempt bigint NOT NULL,
        provider text,
        provider_reference text,
        checkout_id text,
        checkout_url text,
        failure text,
        expires_at timestamptz,
        given_up_at timestamptz,
        next_look_at timestamptz,
        looks bigint NOT NULL,
        steps bigint NOT NULL,
        booked_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_payments PRIMARY KEY (id),
        CONSTRAINT ck_payments_amounts CHECK (amount >= 0 AND tax >= 0 AND tax <= amount),
        CONSTRAINT ck_payments_captured_whole CHECK (captured IN (0, amount) AND (captured = 0 OR state = 'success')),
        CONSTRAINT ck_payments_refunds_within_captures CHECK (
            refunding >= 0 AND refunded >= 0 AND refunding + refunded <= captured
        ),
        CONSTRAINT ck_payments_known_state CHECK (state IN ('pending', 'processing', 'success', 'failed', 'unknown')),
        CONSTRAINT ck_payments_asked_at_a_time CHECK ((asked IS NULL) = (asked_at IS NULL)),
        CONSTRAINT ck_payments_of_an_order CHECK ((purpose = 'order') = (order_id IS NOT NULL))
    )
    """,
    "CREATE INDEX ix_payments_created_at_id ON billing.payments (created_at, id)",
    "CREATE INDEX ix_payments_tenant_id_created_at_id ON billing.payments (tenant_id, created_at, id)",
    "CREATE INDEX ix_payments_user_id_created_at_id ON billing.payments (user_id, created_at, id)",
    "CREATE INDEX ix_payments_order_id ON billing.payments (order_id)",
    "CREATE UNIQUE INDEX uq_payments_provider_reference ON billing.payments (provider, provider_reference)",
    "CREATE UNIQUE INDEX uq_payments_checkout_id ON billing.payments (provider, checkout_id)",
    "CREATE INDEX ix_payments_to_look_after ON billing.payments (next_look_at) WHERE next_look_at IS NOT NULL",
    "CREATE INDEX ix_payments_booked_at ON billing.payments (booked_at) WHERE booked_at IS NOT NULL",
    """
    CREATE TABLE billing.payment_events (
        payment_id uuid NOT NULL,
        number bigint NOT NULL,
        state varchar(10) NOT NULL,
        reason text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_payment_events PRIMARY KEY (payment_id, number),
        CONSTRAINT fk_payment_events_payment_id FOREIGN KEY(payment_id) REFERENCES billing.payments (id)
    )
    """,
)

REFUNDS_AND_DISPUTES = (
    """
    CREATE TABLE billing.refunds (
        id uuid NOT NULL,
        payment_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        order_id uuid,
        amount bigint NOT NULL,
        tax bigint NOT NULL,
        currency varchar(3) NOT NULL,
        state varchar(10) NOT NULL,
        reason text NOT NULL,
        requested_by text NOT NULL,
        provider_reference text,
        failure text,
        asked_at timestamptz,
        attempt bigint NOT NULL,
        next_look_at timestamptz,
        looks bigint NOT NULL,
        booked_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_refunds PRIMARY KEY (id),
        CONSTRAINT fk_refunds_payment_id FOREIGN KEY(payment_id) REFERENCES billing.payments (id),
        CONSTRAINT ck_refunds_amounts CHECK (amount > 0 AND tax >= 0 AND tax <= amount),
        CONSTRAINT ck_refunds_known_state CHECK (state IN ('pending', 'processing', 'success', 'failed', 'unknown'))
    )
    """,
    "CREATE INDEX ix_refunds_payment_id ON billing.refunds (payment_id)",
    "CREATE INDEX ix_refunds_order_id ON billing.refunds (order_id)",
    "CREATE UNIQUE INDEX uq_refunds_provider_reference ON billing.refunds (provider_reference)",
    "CREATE INDEX ix_refunds_to_look_after ON billing.refunds (next_look_at) WHERE next_look_at IS NOT NULL",
    "CREATE INDEX ix_refunds_booked_at ON billing.refunds (booked_at) WHERE booked_at IS NOT NULL",
    """
    CREATE TABLE billing.disputes (
        id uuid NOT NULL,
        payment_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        amount bigint NOT NULL,
        currency varchar(3) NOT NULL,
        state varchar(10) NOT NULL,
        reason text NOT NULL,
        provider_reference text NOT NULL,
        opened_at timestamptz NOT NULL,
        closed_at timestamptz,
        CONSTRAINT pk_disputes PRIMARY KEY (id),
        CONSTRAINT uq_disputes_provider_reference UNIQUE (provider_reference),
        CONSTRAINT fk_disputes_payment_id FOREIGN KEY(payment_id) REFERENCES billing.payments (id),
        CONSTRAINT ck_disputes_amount_positive CHECK (amount > 0),
        CONSTRAINT ck_disputes_known_state CHECK (state IN ('open', 'won', 'lost'))
    )
    """,
    "CREATE INDEX ix_disputes_payment_id ON billing.disputes (payment_id)",
    "CREATE INDEX ix_disputes_tenant_id_opened_at_id ON billing.disputes (tenant_id, opened_at, id)",
)

BOOKS = (
    """
    CREATE TABLE billing.webhook_deliveries (
        id bigint GENERATED BY DEFAULT AS IDENTITY,
        provider text NOT NULL,
        event_id text,
        type text,
        outcome varchar(10) NOT NULL,
        detail text,
        body jsonb,
        received_at timestamptz NOT NULL,
        CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
        CONSTRAINT ck_webhook_deliveries_known_outcome CHECK (
            outcome IN ('applied', 'repeated', 'ignored', 'refused')
        )
    )
    """,
    """
    CREATE UNIQUE INDEX uq_webhook_deliveries_event_id ON billing.webhook_deliveries (provider, event_id)
    WHERE outcome IN ('applied', 'ignored')
    """,
    "CREATE INDEX ix_webhook_deliveries_outcome_id ON billing.webhook_deliveries (outcome, id)",
    """
    CREATE TABLE billing.payment_reconciliations (
        id uuid NOT NULL,
        provider text NOT NULL,
        day date NOT NULL,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        compared bigint NOT NULL,
        resolved_unknown bigint NOT NULL,
        captured jsonb NOT NULL,
        refunded jsonb NOT NULL,
        differences jsonb NOT NULL,
        error text,
        CONSTRAINT pk_payment_reconciliations PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_payment_reconciliations_provider_day_started_at
    ON billing.payment_reconciliations (provider, day, started_at)
    """,
)


def upgrade() -> None:
    for statement in (*PAYMENTS, *REFUNDS_AND_DISPUTES, *BOOKS):
        op.execute(statement)
