"""The catalogue and what is installed from it."""

from alembic import op

from cloudphone_shared.database import create_common_tables

revision = "app_0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE app.apps (
        id uuid NOT NULL,
        tenant_id uuid,
        package_name text NOT NULL,
        name text NOT NULL,
        description text NOT NULL,
        category text NOT NULL,
        published boolean NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        deleted_at timestamptz,
        CONSTRAINT pk_apps PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_apps_category_name_id ON app.apps (category, name, id)",
    "CREATE INDEX ix_apps_created_at_id ON app.apps (created_at, id)",
    "CREATE INDEX ix_apps_name_id ON app.apps (name, id)",
    "CREATE INDEX ix_apps_package_name_id ON app.apps (package_name, id)",
    """
    CREATE UNIQUE INDEX uq_apps_tenant_id_package_name ON app.apps (tenant_id, package_name) NULLS NOT DISTINCT
    WHERE deleted_at IS NULL
    """,
    """
    CREATE TABLE app.app_versions (
        id uuid NOT NULL,
        app_id uuid NOT NULL,
        version_code bigint NOT NULL,
        version_name text NOT NULL,
        sha256 varchar(64) NOT NULL,
        abis text[] NOT NULL,
        min_sdk bigint NOT NULL,
        size bigint NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_app_versions PRIMARY KEY (id),
        CONSTRAINT uq_app_versions_app_id_version_code UNIQUE (app_id, version_code),
        CONSTRAINT ck_app_versions_size_positive CHECK (size > 0),
        CONSTRAINT fk_app_versions_app_id FOREIGN KEY(app_id) REFERENCES app.apps (id)
    )
    """,
    """
    CREATE TABLE app.installations (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        device_id uuid NOT NULL,
        app_id uuid NOT NULL,
        app_version_id uuid NOT NULL,
        package_name text NOT NULL,
        state varchar(20) NOT NULL,
        attempt bigint NOT NULL,
        installed_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_installations PRIMARY KEY (id),
        CONSTRAINT fk_installations_app_id FOREIGN KEY(app_id) REFERENCES app.apps (id),
        CONSTRAINT fk_installations_app_version_id FOREIGN KEY(app_version_id) REFERENCES app.app_versions (id)
    )
    """,
    "CREATE INDEX ix_installations_app_id_state ON app.installations (app_id, state)",
    "CREATE INDEX ix_installations_app_version_id ON app.installations (app_version_id)",
    "CREATE INDEX ix_installations_device_id_state ON app.installations (device_id, state)",
    "CREATE INDEX ix_installations_tenant_id_state ON app.installations (tenant_id, state)",
    """
    CREATE UNIQUE INDEX uq_installations_live ON app.installations (device_id, package_name)
    WHERE state NOT IN ('uninstalled', 'failed', 'cancelled')
    """,
)


def upgrade() -> None:
    create_common_tables(op, "app")
    for statement in TABLES:
        op.execute(statement)
