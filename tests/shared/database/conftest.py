from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloudphone_shared.database import Database, History, upgrade
from tests.patience import patience
from tests.servers import Postgres

FIRST = """
from alembic import op
import sqlalchemy as sa
from cloudphone_shared.database import create_common_tables

revision = "0001"
down_revision = None

def upgrade() -> None:
    create_common_tables(op, "shop")
    op.create_table(
        "things",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=True),
        sa.Column("price", sa.Numeric(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_things"),
    )
"""


@pytest.fixture(scope="package", autouse=True)
def patient() -> Iterator[None]:
    with patience():
        yield


def history_in(folder: Path) -> History:
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_things.py").write_text(FIRST)
    return History("shop", "shop", versions)


@pytest.fixture
def history(tmp_path: Path) -> History:
    """The migrations of a service `shop`, whose schema is `shop` too."""
    return history_in(tmp_path)


@pytest.fixture(scope="package")
async def migrated(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database that others are copied from."""
    url = await postgres.database()
    await upgrade(url, history_in(tmp_path_factory.mktemp("shop")))
    return url


@pytest.fixture
async def database(postgres: Postgres, migrated: str) -> AsyncIterator[Database]:
    url = await postgres.database(like=migrated)
    database = Database(url, schema="shop", service="shop")
    yield database
    await database.close()
