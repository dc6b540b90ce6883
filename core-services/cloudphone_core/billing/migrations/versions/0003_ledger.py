"""Accounts, transfers and entries, with what the database promises of them; balances become opening transfers."""

from alembic import op

revision = "billing_0003"
down_revision = "billing_0002"

TOTAL = """
CREATE FUNCTION billing.total(bigint[]) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT coalesce(sum(each), 0) FROM unnest($1) AS each)
"""

TABLES = (
    """
    CREATE TABLE billing.accounts (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        kind varchar(12) NOT NULL,
        owner_id uuid,
        currency varchar(3) NOT NULL,
        balance bigint,
        held bigint DEFAULT 0 NOT NULL,
        lines bigint DEFAULT 0 NOT NULL,
        opened_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_accounts PRIMARY KEY (id),
        CONSTRAINT uq_accounts_place UNIQUE NULLS NOT DISTINCT (tenant_id, kind, owner_id, currency),
        CONSTRAINT ck_accounts_users_or_tenants CHECK ((owner_id IS NOT NULL) = (kind IN ('wallet', 'receivable'))),
        CONSTRAINT ck_accounts_kept_for_users CHECK ((balance IS NULL) = (owner_id IS NULL)),
        CONSTRAINT ck_accounts_wallets_hold CHECK (held >= 0 AND (held = 0 OR kind = 'wallet')),
        CONSTRAINT ck_accounts_never_overdrawn CHECK (kind <> 'wallet' OR balance - held >= 0)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX ix_accounts_owner_id ON billing.accounts (owner_id) WHERE owner_id IS NOT NULL",
    """
    CREATE TABLE billing.transfers (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        key text NOT NULL,
        kind varchar(12) NOT NULL,
        state varchar(8) NOT NULL,
        currency varchar(3) NOT NULL,
        user_id uuid,
        account_ids uuid[] NOT NULL,
        amounts bigint[] NOT NULL,
        reason text NOT NULL,
        reference text,
        actor text NOT NULL,
        created_at timestamptz NOT NULL,
        expires_at timestamptz,
        settled_at timestamptz,
        settled_reason text,
        CONSTRAINT pk_transfers PRIMARY KEY (id),
        CONSTRAINT uq_transfers_key UNIQUE (tenant_id, key),
        CONSTRAINT ck_transfers_known_state CHECK (state IN ('pending', 'posted', 'voided', 'expired')),
        CONSTRAINT ck_transfers_settled_at_some_time CHECK ((state = 'pending') = (settled_at IS NULL)),
        CONSTRAINT ck_transfers_an_amount_each CHECK (cardinality(account_ids) = cardinality(amounts)),
        CONSTRAINT ck_transfers_adds_up CHECK (billing.total(amounts) = 0)
    )
    """,
    "CREATE INDEX ix_transfers_tenant_id_created_at_id ON billing.transfers (tenant_id, created_at, id)",
    "CREATE INDEX ix_transfers_user_id_created_at_id ON billing.transfers (user_id, created_at, id)",
    "CREATE INDEX ix_transfers_pending ON billing.transfers (expires_at) WHERE state = 'pending'",
    """
    CREATE TABLE billing.entries (
        transfer_id uuid NOT NULL,
        line smallint NOT NULL,
        account_id uuid NOT NULL,
        amount bigint NOT NULL,
        number bigint,
        balance_after bigint,
        at timestamptz NOT NULL,
        CONSTRAINT pk_entries PRIMARY KEY (transfer_id, line),
        CONSTRAINT fk_entries_transfer_id FOREIGN KEY(transfer_id) REFERENCES billing.transfers (id),
        CONSTRAINT ck_entries_placed_or_not CHECK ((number IS NULL) = (balance_after IS NULL))
    )
    """,
    "CREATE UNIQUE INDEX ix_entries_statement ON billing.entries (account_id, at, number) WHERE number IS NOT NULL",
    """
    CREATE TABLE billing.adjustments (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        amount bigint NOT NULL,
        currency varchar(3) NOT NULL,
        reason text NOT NULL,
        state varchar(8) NOT NULL,
        requested_by uuid NOT NULL,
        requested_at timestamptz NOT NULL,
        decided_by uuid,
        decided_at timestamptz,
        decision text,
        transfer_id uuid,
        CONSTRAINT pk_adjustments PRIMARY KEY (id),
        CONSTRAINT fk_adjustments_transfer_id FOREIGN KEY(transfer_id) REFERENCES billing.transfers (id),
        CONSTRAINT ck_adjustments_moves_something CHECK (amount <> 0),
        CONSTRAINT ck_adjustments_known_state CHECK (state IN ('waiting', 'applied', 'rejected')),
        CONSTRAINT ck_adjustments_by_four_eyes CHECK (decided_by <> requested_by),
        CONSTRAINT ck_adjustments_decided_at_some_time CHECK ((state = 'waiting') = (decided_at IS NULL)),
        CONSTRAINT ck_adjustments_applied_by_transfer CHECK ((state = 'applied') = (transfer_id IS NOT NULL))
    )
    """,
    "CREATE INDEX ix_adjustments_tenant_id_requested_at_id ON billing.adjustments (tenant_id, requested_at, id)",
    "CREATE INDEX ix_adjustments_user_id_requested_at_id ON billing.adjustments (user_id, requested_at, id)",
)

FOR_TRIGGERS_ALONE = (
    """
    CREATE FUNCTION billing.refuse_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% of %: the ledger is append-only, its figures follow from transfers', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER entries_come_by_booking BEFORE INSERT ON billing.entries
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION billing.refuse_by_hand()
    """,
    """
    CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_by_hand()
    """,
    """
    CREATE TRIGGER transfers_stay BEFORE DELETE OR TRUNCATE ON billing.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_by_hand()
    """,
    """
    CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON billing.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_by_hand()
    """,
    """
    CREATE TRIGGER accounts_begin_empty BEFORE INSERT ON billing.accounts
    FOR EACH ROW WHEN (NEW.balance <> 0 OR NEW.held <> 0 OR NEW.lines <> 0)
    EXECUTE FUNCTION billing.refuse_by_hand()
    """,
    """
    CREATE TRIGGER accounts_follow_transfers BEFORE UPDATE ON billing.accounts
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION billing.refuse_by_hand()
    """,
)

TRANSFERS = (
    """
    CREATE FUNCTION billing.settle_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF NEW.state NOT IN ('pending', 'posted') THEN
                RAISE EXCEPTION 'transfer % begins %', NEW.id, NEW.state USING ERRCODE = 'check_violation';
            END IF;
        ELSIF OLD.state <> 'pending' OR NEW.state = 'pending' OR
            (NEW.id, NEW.tenant_id, NEW.key, NEW.kind, NEW.currency, NEW.user_id, NEW.account_ids, NEW.amounts,
             NEW.reason, NEW.reference, NEW.actor, NEW.created_at, NEW.expires_at) IS DISTINCT FROM
            (OLD.id, OLD.tenant_id, OLD.key, OLD.kind, OLD.currency, OLD.user_id, OLD.account_ids, OLD.amounts,
             OLD.reason, OLD.reference, OLD.actor, OLD.created_at, OLD.expires_at)
        THEN
            RAISE EXCEPTION 'transfer % is %: it can only be settled, and that once', OLD.id, OLD.state
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.state = 'posted' THEN
            -- Its user's accounts are locked in one order from here on, and their entries' times never go back.
            NEW.settled_at := greatest(NEW.settled_at, (
                SELECT max(updated_at) FROM (
                    SELECT updated_at FROM billing.accounts
                    WHERE id = ANY(NEW.account_ids) AND owner_id IS NOT NULL
                    ORDER BY id FOR NO KEY UPDATE
                ) AS owned
            ));
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER settle_once BEFORE INSERT OR UPDATE ON billing.transfers
    FOR EACH ROW EXECUTE FUNCTION billing.settle_once()
    """,
    """
    CREATE FUNCTION billing.book() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        was_held boolean := TG_OP = 'UPDATE';
    BEGIN
        IF NEW.state = 'posted' THEN
            WITH lines AS (
                SELECT * FROM unnest(NEW.account_ids, NEW.amounts) WITH ORDINALITY AS l (account_id, amount, line)
            ),
            moved AS (
                UPDATE billing.accounts AS a
                SET balance = a.balance + l.amount, lines = a.lines + 1, updated_at = NEW.settled_at,
                    held = a.held + CASE WHEN was_held AND a.kind = 'wallet' THEN least(l.amount, 0) ELSE 0 END
                FROM lines AS l WHERE a.id = l.account_id AND a.owner_id IS NOT NULL
                RETURNING a.id, a.balance, a.lines
            )
            INSERT INTO billing.entries (transfer_id, line, account_id, amount, number, balance_after, at)
            SELECT NEW.id, l.line, l.account_id, l.amount, m.lines, m.balance, NEW.settled_at
            FROM lines AS l LEFT JOIN moved AS m ON m.id = l.account_id;
        ELSE
            UPDATE billing.accounts AS a
            SET held = a.held + CASE WHEN was_held THEN l.amount ELSE -l.amount END,
                updated_at = greatest(a.updated_at, NEW.settled_at, NEW.created_at)
            FROM unnest(NEW.account_ids, NEW.amounts) AS l (account_id, amount)
            WHERE a.id = l.account_id AND a.kind = 'wallet' AND l.amount < 0;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER book AFTER INSERT OR UPDATE ON billing.transfers
    FOR EACH ROW EXECUTE FUNCTION billing.book()
    """,
    """
    CREATE FUNCTION billing.add_up() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        moved billing.transfers := (SELECT t FROM billing.transfers AS t WHERE t.id = NEW.id);
        posted boolean := moved.state = 'posted';
        expected bigint := CASE WHEN posted THEN cardinality(moved.amounts) ELSE 0 END;
        booked bigint;
        astray bigint;
        total numeric;
    BEGIN
        SELECT count(*) INTO astray
        FROM unnest(moved.account_ids, moved.amounts) WITH ORDINALITY AS l (account_id, amount, line)
        LEFT JOIN billing.accounts AS a ON a.id = l.account_id
        LEFT JOIN billing.entries AS e ON e.transfer_id = moved.id AND e.line = l.line
        WHERE a.id IS NULL OR a.tenant_id <> moved.tenant_id OR a.currency <> moved.currency
            OR a.owner_id <> coalesce(moved.user_id, moved.tenant_id)
            OR (posted AND (e.account_id, e.amount, e.at) IS DISTINCT FROM (l.account_id, l.amount, moved.settled_at));
        SELECT count(*), coalesce(sum(amount), 0) INTO booked, total FROM billing.entries WHERE transfer_id = moved.id;
        IF astray > 0 OR total <> 0 OR booked <> expected THEN
            RAISE EXCEPTION 'transfer % (%) does not add up: % lines astray, % entries of %, total %',
                moved.id, moved.state, astray, booked, expected, total
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER add_up AFTER INSERT OR UPDATE ON billing.transfers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.add_up()
    """,
)

VIEWS = (
    """
    CREATE VIEW billing.user_balances AS
    SELECT owner_id AS user_id, tenant_id, currency, balance - held AS available, held, opened_at, updated_at,
        id AS account_id
    FROM billing.accounts WHERE kind = 'wallet'
    """,
    """
    CREATE VIEW billing.balance_transactions AS
    SELECT t.user_id, t.tenant_id, t.id AS transfer_id, t.kind, t.state, e.amount, t.currency, e.balance_after,
        t.reason, t.reference, e.at, e.number AS place, e.account_id
    FROM billing.entries AS e
    JOIN billing.accounts AS a ON a.id = e.account_id AND a.kind = 'wallet'
    JOIN billing.transfers AS t ON t.id = e.transfer_id
    WHERE e.number IS NOT NULL
    UNION ALL
    SELECT t.user_id, t.tenant_id, t.id, t.kind, t.state, l.amount, t.currency, NULL, t.reason, t.reference,
        t.created_at, 9223372036854775807, a.id
    FROM billing.transfers AS t
    CROSS JOIN unnest(t.account_ids, t.amounts) AS l (account_id, amount)
    JOIN billing.accounts AS a ON a.id = l.account_id AND a.kind = 'wallet'
    WHERE t.state = 'pending'
    """,
)

ACCOUNT_ID = """
    encode(substr(sha256(convert_to(
        concat_ws('/', tenant_id, '{kind}', {owner}, currency), 'UTF8')), 1, 16), 'hex')::uuid
"""
"""As `Account.id` spells it."""

_WALLET = ACCOUNT_ID.format(kind="wallet", owner="user_id")
_OPENING = ACCOUNT_ID.format(kind="opening", owner="'-'")

OPENINGS = (
    f"""
    INSERT INTO billing.accounts (id, tenant_id, kind, owner_id, currency, balance, opened_at, updated_at)
    SELECT {_WALLET}, tenant_id, 'wallet', user_id, currency, 0, updated_at, updated_at FROM billing.balances
    """,  # noqa: S608
    f"""
    INSERT INTO billing.accounts (id, tenant_id, kind, currency, opened_at, updated_at)
    SELECT {_OPENING}, tenant_id, 'opening', currency, min(updated_at), min(updated_at)
    FROM billing.balances GROUP BY tenant_id, currency
    """,  # noqa: S608
    # What an administrator had noted as held was held by nothing: it is the customer's.
    f"""
    INSERT INTO billing.transfers (
        id, tenant_id, key, kind, state, currency, user_id, account_ids, amounts, reason, actor, created_at, settled_at
    )
    SELECT gen_random_uuid(), tenant_id, 'opening:' || user_id, 'opening', 'posted', currency, user_id,
        ARRAY[{_WALLET}, {_OPENING}], ARRAY[available + held, -(available + held)],
        'balance before the ledger', 'migration', updated_at, updated_at
    FROM billing.balances WHERE available + held > 0
    """,  # noqa: S608
    # The deferred checks are due before a table of theirs can go.
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET CONSTRAINTS ALL DEFERRED",
    "DROP TABLE billing.balances",
)  # fmt: skip


def upgrade() -> None:
    for statement in (TOTAL, *TABLES, *FOR_TRIGGERS_ALONE, *TRANSFERS, *VIEWS, *OPENINGS):
        op.execute(statement)
