"""How much of something a user may have, and who reserved how much of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "identity"


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("resource", sa.String(20), nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("limit", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint('"limit" >= 0', name=op.f("ck_quotas_limit_from_nothing")),
        sa.ForeignKeyConstraint(["tenant_id"], [f"{SCHEMA}.tenants.id"], name=op.f("fk_quotas_tenant_id")),
        sa.PrimaryKeyConstraint("owner_id", "resource", name=op.f("pk_quotas")),
        schema=SCHEMA,
    )
    op.create_table(
        "quota_reservations",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=True),
        sa.Column("tenant_id", sa.Uuid, nullable=True),
        sa.Column("resource", sa.String(20), nullable=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('held', 'committed', 'released')", name=op.f("ck_quota_reservations_state")),
        sa.CheckConstraint(
            "num_nulls(user_id, tenant_id, resource) = 0 AND amount > 0"
            " OR num_nonnulls(user_id, tenant_id, resource) = 0 AND amount = 0 AND state = 'released'",
            name=op.f("ck_quota_reservations_somebodys_unless_refused_beforehand"),
        ),
        sa.ForeignKeyConstraint(["user_id"], [f"{SCHEMA}.users.id"], name=op.f("fk_quota_reservations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_reservations")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_quota_reservations_user_id_resource"),
        "quota_reservations",
        ["user_id", "resource"],
        schema=SCHEMA,
        postgresql_where=sa.text("state <> 'released'"),
    )
