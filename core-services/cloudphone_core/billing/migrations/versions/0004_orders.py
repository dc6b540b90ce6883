"""Plan versions, coupons, order events, subscriptions."""

from alembic import op

revision = "billing_0004"
down_revision = "billing_0003"

PLANS = (
    """
    ALTER TABLE billing.plans
        ADD COLUMN revision bigint NOT NULL DEFAULT 1,
        ADD COLUMN template_id uuid,
        ADD COLUMN rule_id uuid,
        ADD COLUMN grace_days bigint NOT NULL DEFAULT 3
    """,
    "ALTER TABLE billing.plans ALTER COLUMN revision DROP DEFAULT, ALTER COLUMN grace_days DROP DEFAULT",
    """
    CREATE TABLE billing.plan_versions (
        plan_id uuid NOT NULL,
        revision bigint NOT NULL,
        price bigint NOT NULL,
        currency varchar(3) NOT NULL,
        period_days bigint NOT NULL,
        included_hours bigint NOT NULL,
        template_id uuid,
        rule_id uuid,
        grace_days bigint NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_plan_versions PRIMARY KEY (plan_id, revision),
        CONSTRAINT fk_plan_versions_plan_id FOREIGN KEY(plan_id) REFERENCES billing.plans (id),
        CONSTRAINT ck_plan_versions_price_not_negative CHECK (price >= 0),
        CONSTRAINT ck_plan_versions_lasts CHECK (period_days >= 1),
        CONSTRAINT ck_plan_versions_grace_not_negative CHECK (grace_days >= 0)
    )
    """,
    """
    INSERT INTO billing.plan_versions
    SELECT id, 1, price, currency, period_days, included_hours, NULL, NULL, grace_days, created_at FROM billing.plans
    """,
    """
    CREATE FUNCTION billing.never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% of % never changes', lower(TG_OP), TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE TRIGGER never_changes BEFORE UPDATE OR TRUNCATE ON billing.plan_versions
    FOR EACH STATEMENT EXECUTE FUNCTION billing.never_changes()
    """,
    """
    CREATE FUNCTION billing.plan_is_its_newest_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE billing.plans
        SET revision = NEW.revision, price = NEW.price, currency = NEW.currency, period_days = NEW.period_days,
            included_hours = NEW.included_hours, template_id = NEW.template_id, rule_id = NEW.rule_id,
            grace_days = NEW.grace_days
        WHERE id = NEW.plan_id AND revision <= NEW.revision;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER plan_is_its_newest_version AFTER INSERT ON billing.plan_versions
    FOR EACH ROW EXECUTE FUNCTION billing.plan_is_its_newest_version()
    """,
)

COUPONS = (
    """
    CREATE TABLE billing.coupons (
        id uuid NOT NULL,
        code text NOT NULL,
        percent bigint,
        amount bigint,
        currency varchar(3),
        plan_id uuid,
        valid_from timestamptz NOT NULL,
        valid_until timestamptz,
        most_uses bigint,
        uses_per_user bigint NOT NULL,
        uses bigint NOT NULL,
        active boolean NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_coupons PRIMARY KEY (id),
        CONSTRAINT uq_coupons_code UNIQUE (code),
        CONSTRAINT fk_coupons_plan_id FOREIGN KEY(plan_id) REFERENCES billing.plans (id),
        CONSTRAINT ck_coupons_takes_one_thing_off CHECK ((percent IS NULL) <> (amount IS NULL)),
        CONSTRAINT ck_coupons_amount_in_a_currency CHECK ((amount IS NULL) = (currency IS NULL)),
        CONSTRAINT ck_coupons_takes_something_off CHECK (percent BETWEEN 1 AND 100 AND amount >= 1),
        CONSTRAINT ck_coupons_uses_within_bounds CHECK (uses >= 0 AND uses <= most_uses)
    )
    """,
    "CREATE INDEX ix_coupons_created_at_id ON billing.coupons (created_at, id)",
    """
    CREATE TABLE billing.coupon_uses (
        order_id uuid NOT NULL,
        coupon_id uuid NOT NULL,
        user_id uuid NOT NULL,
        state varchar(10) NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_coupon_uses PRIMARY KEY (order_id),
        CONSTRAINT fk_coupon_uses_coupon_id FOREIGN KEY(coupon_id) REFERENCES billing.coupons (id),
        CONSTRAINT ck_coupon_uses_known_state CHECK (state IN ('held', 'used', 'released'))
    )
    """,
    """
    CREATE INDEX ix_coupon_uses_standing ON billing.coupon_uses (coupon_id, user_id) WHERE state <> 'released'
    """,
)

# Events become typed facts before they become unchangeable. What they say is what was known then: version 1 of
# `placed` names no price beside its amount, and a step that named a device still does.
ORDERS = (
    """
    ALTER TABLE billing.orders
        ADD COLUMN plan_revision bigint NOT NULL DEFAULT 1,
        ADD COLUMN kind varchar(20) NOT NULL DEFAULT 'purchase',
        ADD COLUMN parent_id uuid,
        ADD COLUMN list_price bigint NOT NULL DEFAULT 0,
        ADD COLUMN discount bigint NOT NULL DEFAULT 0,
        ADD COLUMN tax bigint NOT NULL DEFAULT 0,
        ADD COLUMN credit bigint NOT NULL DEFAULT 0,
        ADD COLUMN refunded bigint NOT NULL DEFAULT 0,
        ADD COLUMN coupon_code text,
        ADD COLUMN payment_method varchar(10) NOT NULL DEFAULT 'wallet',
        ADD COLUMN payment_id uuid,
        ADD COLUMN saga_id uuid,
        ADD COLUMN auto_renew boolean NOT NULL DEFAULT false,
        ADD COLUMN last_number bigint NOT NULL DEFAULT 1
    """,
    """
    UPDATE billing.orders AS o
    SET list_price = amount,
        refunded = CASE WHEN state = 'refunded' THEN amount ELSE 0 END,
        last_number = (SELECT max(number) FROM billing.order_events AS e WHERE e.order_id = o.id)
    """,
    """
    ALTER TABLE billing.orders
        ALTER COLUMN plan_revision DROP DEFAULT,
        ALTER COLUMN kind DROP DEFAULT,
        ALTER COLUMN list_price DROP DEFAULT,
        ALTER COLUMN discount DROP DEFAULT,
        ALTER COLUMN tax DROP DEFAULT,
        ALTER COLUMN credit DROP DEFAULT,
        ALTER COLUMN refunded DROP DEFAULT,
        ALTER COLUMN payment_method DROP DEFAULT,
        ALTER COLUMN auto_renew DROP DEFAULT,
        ALTER COLUMN last_number DROP DEFAULT,
        DROP CONSTRAINT fk_orders_plan_id,
        ADD CONSTRAINT fk_orders_plan_id_plan_revision
            FOREIGN KEY(plan_id, plan_revision) REFERENCES billing.plan_versions (plan_id, revision),
        ADD CONSTRAINT fk_orders_parent_id FOREIGN KEY(parent_id) REFERENCES billing.orders (id),
        ADD CONSTRAINT ck_orders_amount_is_the_price CHECK (amount = list_price - discount AND discount >= 0),
        ADD CONSTRAINT ck_orders_tax_within CHECK (tax BETWEEN 0 AND amount),
        ADD CONSTRAINT ck_orders_refunded_within CHECK (refunded BETWEEN 0 AND amount),
        ADD CONSTRAINT ck_orders_credit_not_negative CHECK (credit >= 0)
    """,
    "CREATE INDEX ix_orders_parent_id ON billing.orders (parent_id)",
    """
    ALTER TABLE billing.order_events
        ADD COLUMN type text NOT NULL DEFAULT '',
        ADD COLUMN version bigint NOT NULL DEFAULT 1,
        ADD COLUMN data jsonb NOT NULL DEFAULT '{}'
    """,
    """
    UPDATE billing.order_events AS e
    SET type = CASE
            WHEN e.number = 1 THEN 'placed'
            WHEN e.state = (
                SELECT b.state FROM billing.order_events AS b
                WHERE b.order_id = e.order_id AND b.number < e.number ORDER BY b.number DESC LIMIT 1
            ) THEN 'device-bound'
            WHEN e.state = 'provisioning' THEN 'provisioning-begun'
            WHEN e.state = 'compensating' THEN 'undoing-begun'
            WHEN e.state = 'refunding' THEN 'refund-begun'
            ELSE e.state
        END,
        data = CASE
            WHEN e.number = 1 THEN jsonb_build_object(
                'tenantId', o.tenant_id, 'userId', o.user_id, 'planId', o.plan_id, 'amount', o.amount,
                'currency', o.currency, 'deviceId', e.device_id
            )
            WHEN e.state = 'refunded' THEN jsonb_build_object('amount', o.amount)
            WHEN e.device_id IS NOT NULL THEN jsonb_build_object('deviceId', e.device_id)
            ELSE '{}'
        END
    FROM billing.orders AS o
    WHERE o.id = e.order_id
    """,
    """
    ALTER TABLE billing.order_events
        ALTER COLUMN type DROP DEFAULT,
        ALTER COLUMN version DROP DEFAULT,
        ALTER COLUMN data DROP DEFAULT,
        DROP COLUMN device_id
    """,
    """
    CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.order_events
    FOR EACH STATEMENT EXECUTE FUNCTION billing.never_changes()
    """,
    """
    CREATE TABLE billing.order_refunds (
        refund_id uuid NOT NULL,
        order_id uuid NOT NULL,
        amount bigint NOT NULL,
        whole boolean NOT NULL,
        requested_at timestamptz NOT NULL,
        settled_at timestamptz,
        CONSTRAINT pk_order_refunds PRIMARY KEY (refund_id),
        CONSTRAINT fk_order_refunds_order_id FOREIGN KEY(order_id) REFERENCES billing.orders (id),
        CONSTRAINT ck_order_refunds_something CHECK (amount >= 1)
    )
    """,
    "CREATE INDEX ix_order_refunds_order_id ON billing.order_refunds (order_id)",
    "CREATE INDEX ix_order_refunds_open ON billing.order_refunds (requested_at) WHERE settled_at IS NULL",
)

SUBSCRIPTIONS = (
    """
    CREATE TABLE billing.subscriptions (
        id uuid NOT NULL,
        order_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        device_id uuid,
        plan_id uuid NOT NULL,
        plan_revision bigint NOT NULL,
        state varchar(10) NOT NULL,
        period_start timestamptz NOT NULL,
        period_end timestamptz NOT NULL,
        paid_by uuid NOT NULL,
        worth bigint NOT NULL,
        auto_renew boolean NOT NULL,
        grace_until timestamptz,
        try_at timestamptz,
        ended_at timestamptz,
        end_reason text,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_subscriptions PRIMARY KEY (id),
        CONSTRAINT uq_subscriptions_order_id UNIQUE (order_id),
        CONSTRAINT fk_subscriptions_order_id FOREIGN KEY(order_id) REFERENCES billing.orders (id),
        CONSTRAINT fk_subscriptions_paid_by FOREIGN KEY(paid_by) REFERENCES billing.orders (id),
        CONSTRAINT fk_subscriptions_plan_id_plan_revision
            FOREIGN KEY(plan_id, plan_revision) REFERENCES billing.plan_versions (plan_id, revision),
        CONSTRAINT ck_subscriptions_known_state CHECK (state IN ('active', 'grace', 'ended')),
        CONSTRAINT ck_subscriptions_lasts CHECK (period_end > period_start),
        CONSTRAINT ck_subscriptions_worth_not_negative CHECK (worth >= 0),
        CONSTRAINT ck_subscriptions_grace_ends CHECK (
            (state = 'grace') = (grace_until IS NOT NULL AND try_at IS NOT NULL)
        ),
        CONSTRAINT ck_subscriptions_ended_for_a_reason CHECK (
            (state = 'ended') = (ended_at IS NOT NULL AND end_reason IS NOT NULL)
        )
    )
    """,
    "CREATE INDEX ix_subscriptions_tenant_id_created_at_id ON billing.subscriptions (tenant_id, created_at, id)",
    "CREATE INDEX ix_subscriptions_user_id_created_at_id ON billing.subscriptions (user_id, created_at, id)",
    "CREATE INDEX ix_subscriptions_due ON billing.subscriptions (period_end) WHERE state = 'active'",
    "CREATE INDEX ix_subscriptions_grace ON billing.subscriptions (try_at) WHERE state = 'grace'",
    """
    CREATE TABLE billing.subscription_terms (
        subscription_id uuid NOT NULL,
        number bigint NOT NULL,
        order_id uuid NOT NULL,
        plan_id uuid NOT NULL,
        plan_revision bigint NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        term tstzrange GENERATED ALWAYS AS (tstzrange(starts_at, ends_at)) STORED NOT NULL,
        CONSTRAINT pk_subscription_terms PRIMARY KEY (subscription_id, number),
        CONSTRAINT uq_subscription_terms_order_id UNIQUE (order_id),
        CONSTRAINT fk_subscription_terms_subscription_id
            FOREIGN KEY(subscription_id) REFERENCES billing.subscriptions (id),
        CONSTRAINT fk_subscription_terms_order_id FOREIGN KEY(order_id) REFERENCES billing.orders (id),
        CONSTRAINT fk_subscription_terms_plan_id_plan_revision
            FOREIGN KEY(plan_id, plan_revision) REFERENCES billing.plan_versions (plan_id, revision),
        CONSTRAINT ck_subscription_terms_ends_after_start CHECK (ends_at >= starts_at),
        CONSTRAINT terms_never_overlap EXCLUDE USING gist (subscription_id WITH =, term WITH &&)
    )
    """,
    """
    CREATE TABLE billing.quota_releases (
        reservation_id uuid NOT NULL,
        due_at timestamptz NOT NULL,
        attempts bigint NOT NULL,
        failure text,
        CONSTRAINT pk_quota_releases PRIMARY KEY (reservation_id)
    )
    """,
    "CREATE INDEX ix_quota_releases_due_at ON billing.quota_releases (due_at)",
)


def upgrade() -> None:
    for statement in (*PLANS, *COUPONS, *ORDERS, *SUBSCRIPTIONS):
        op.execute(statement)
