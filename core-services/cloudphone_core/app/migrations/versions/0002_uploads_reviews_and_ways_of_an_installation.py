"""Files of versions, uploads on their way, reviews, and how an installation gets on."""

from alembic import op

revision = "app_0002"
down_revision = "app_0001"

STATEMENTS = (
    """
    ALTER TABLE app.apps
        ADD COLUMN rating double precision NOT NULL DEFAULT 0,
        ADD COLUMN rating_sum bigint NOT NULL DEFAULT 0,
        ADD COLUMN review_count bigint NOT NULL DEFAULT 0,
        ADD COLUMN icon_key text
    """,
    "CREATE INDEX ix_apps_rating_id ON app.apps (rating, id)",
    """
    ALTER TABLE app.app_versions
        ADD COLUMN label text NOT NULL DEFAULT '',
        ADD COLUMN signers text[] NOT NULL DEFAULT '{}',
        ADD COLUMN permissions text[] NOT NULL DEFAULT '{}',
        ADD COLUMN object_key text,
        ADD COLUMN published boolean NOT NULL DEFAULT true
    """,
    """
    CREATE TABLE app.uploads (
        id uuid NOT NULL,
        tenant_id uuid,
        created_by text NOT NULL,
        app_id uuid,
        filename text NOT NULL,
        length bigint NOT NULL,
        received bigint NOT NULL,
        wanted_sha256 varchar(64),
        state varchar(20) NOT NULL,
        code text,
        detail text,
        apk jsonb,
        icon_key text,
        app_version_id uuid,
        lock_token uuid,
        locked_until timestamptz,
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        CONSTRAINT pk_uploads PRIMARY KEY (id),
        CONSTRAINT ck_uploads_received_within CHECK (received BETWEEN 0 AND length)
    )
    """,
    "CREATE INDEX ix_uploads_created_by_created_at ON app.uploads (created_by, created_at)",
    "CREATE INDEX ix_uploads_expires_at ON app.uploads (expires_at)",
    "CREATE INDEX ix_uploads_checking ON app.uploads (locked_until) WHERE state = 'checking'",
    """
    CREATE TABLE app.upload_parts (
        upload_id uuid NOT NULL,
        at bigint NOT NULL,
        size bigint NOT NULL,
        CONSTRAINT pk_upload_parts PRIMARY KEY (upload_id, at),
        CONSTRAINT fk_upload_parts_upload_id FOREIGN KEY(upload_id) REFERENCES app.uploads (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE app.reviews (
        id uuid NOT NULL,
        app_id uuid NOT NULL,
        user_id uuid NOT NULL,
        tenant_id uuid,
        rating bigint NOT NULL,
        text text NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_reviews PRIMARY KEY (id),
        CONSTRAINT uq_reviews_app_id_user_id UNIQUE (app_id, user_id),
        CONSTRAINT ck_reviews_rating_in_range CHECK (rating BETWEEN 1 AND 5),
        CONSTRAINT fk_reviews_app_id FOREIGN KEY(app_id) REFERENCES app.apps (id)
    )
    """,
    "CREATE INDEX ix_reviews_app_id_updated_at_id ON app.reviews (app_id, updated_at, id)",
    """
    ALTER TABLE app.installations
        ADD COLUMN user_id uuid,
        ADD COLUMN requested_by text NOT NULL DEFAULT '',
        ADD COLUMN purpose varchar(20) NOT NULL DEFAULT 'install',
        ADD COLUMN progress bigint NOT NULL DEFAULT 0,
        ADD COLUMN error_code text,
        ADD COLUMN error text,
        ADD COLUMN retry_of uuid,
        ADD COLUMN replaces uuid,
        ADD COLUMN replaced_by uuid,
        ADD COLUMN cancel_requested_at timestamptz,
        ADD COLUMN deadline_at timestamptz
    """,
    "DROP INDEX app.uq_installations_live",
    """
    CREATE UNIQUE INDEX uq_installations_underway ON app.installations (device_id, package_name)
    WHERE state IN ('pending', 'downloading', 'transferring', 'installing', 'verifying')
    """,
    """
    CREATE UNIQUE INDEX uq_installations_standing ON app.installations (device_id, package_name)
    WHERE state IN ('installed', 'uninstalling')
    """,
    "CREATE INDEX ix_installations_deadline_at ON app.installations (deadline_at) WHERE deadline_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
