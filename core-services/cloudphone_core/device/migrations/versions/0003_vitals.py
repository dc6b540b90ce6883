"""How phones were doing when they were last looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "device"


def upgrade() -> None:
    op.create_table(
        "device_vitals",
        sa.Column("device_id", sa.Uuid, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cpu_load", sa.Double),
        *(sa.Column(f"{of}_{what}", sa.BigInteger) for of in ("memory", "storage") for what in ("used", "total")),
        sa.Column("foreground", sa.Text),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_device_vitals_device_id")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_device_vitals")),
        schema=SCHEMA,
    )
