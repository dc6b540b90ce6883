"""Tenants, users, sessions with their refresh tokens, failed sign-ins, signing keys."""

import sqlalchemy as sa
from alembic import op

from cloudphone_shared.database import create_common_tables

revision = "0001"
down_revision = None

SCHEMA = "identity"
PRESENT = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    create_common_tables(op, SCHEMA)
    _tenants()
    _users()
    _sessions()
    _signing_keys()


def _tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        _at("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenants_slug")),
        schema=SCHEMA,
    )


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=True),
        sa.Column("password_hash", sa.Text, nullable=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("data_scope", sa.String(10), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("suspension_reason", sa.Text, nullable=True),
        sa.Column("phone", sa.Text, nullable=True),
        sa.Column("locale", sa.Text, nullable=False),
        _at("created_at"),
        _at("updated_at"),
        _at("last_active_at", nullable=True),
        _at("deleted_at", nullable=True),
        sa.CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name=op.f("ck_users_deleted_when")),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (email_key IS NOT NULL)", name=op.f("ck_users_address_while_present")
        ),
        sa.CheckConstraint(
            "(role = 'customer') = (data_scope = 'self')", name=op.f("ck_users_customers_see_their_own")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], [f"{SCHEMA}.tenants.id"], name=op.f("fk_users_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
        schema=SCHEMA,
    )
    for columns in (
        ("tenant_id", "created_at", "id"),
        ("created_at", "id"),
        ("name", "id"),
        ("email", "id"),
        ("last_active_at", "id"),
        ("role", "status"),
    ):
        name = "_".join(("ix_users", *columns))
        op.create_index(op.f(name), "users", list(columns), schema=SCHEMA, postgresql_where=PRESENT)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        _at("created_at"),
        _at("expires_at"),
        _at("revoked_at", nullable=True),
        sa.Column("revoked_because", sa.Text, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], [f"{SCHEMA}.users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], schema=SCHEMA)
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], schema=SCHEMA)
    op.create_table(
        "refresh_tokens",
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        _at("expires_at"),
        _at("replaced_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            [f"{SCHEMA}.sessions.id"],
            name=op.f("fk_refresh_tokens_session_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_refresh_tokens")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_refresh_tokens_session_id"), "refresh_tokens", ["session_id"], schema=SCHEMA)
    op.create_index(op.f("ix_refresh_tokens_expires_at"), "refresh_tokens", ["expires_at"], schema=SCHEMA)
    op.create_table(
        "sign_in_failures",
        sa.Column("address", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        _at("failed_at"),
        _at("locked_until", nullable=True),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_sign_in_failures")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_sign_in_failures_failed_at"), "sign_in_failures", ["failed_at"], schema=SCHEMA)


def _signing_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=True),
        _at("created_at"),
        _at("since"),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_signing_keys_active",
        "signing_keys",
        ["state"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'active'"),
    )


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
