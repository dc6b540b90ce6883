"""A service's schema is brought to its newest revision, once, whoever tries."""

import asyncio

import pytest

from cloudphone_shared.database import History, differences, migrations, upgrade
from cloudphone_shared.errors import Unavailable
from tests.servers import Postgres, free_port
from tests.shared.database.shop import Base

pytestmark = pytest.mark.anyio

BROKEN = """
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade() -> None:
    op.execute("CREATE TABLE half (id int)")
    op.execute("SELECT 1/0")
"""


async def test_migrating_creates_the_schema_and_says_what_it_applied(postgres: Postgres, history: History) -> None:
    url = await postgres.database()
    assert await migrations._run(url, history, migrations._pending) == ["0001"]
    assert await upgrade(url, history) == ["0001"]
    assert await upgrade(url, history) == []
    assert await migrations._run(url, history, migrations._current) == "0001" == history.head


async def test_the_models_are_what_the_migrations_made(postgres: Postgres, history: History) -> None:
    url = await postgres.database()
    await upgrade(url, history)
    assert await differences(url, history, Base.metadata) == []


async def test_migrators_that_start_together_take_turns(postgres: Postgres, history: History) -> None:
    url = await postgres.database()
    applied = await asyncio.gather(*(upgrade(url, history) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ["0001"]]


async def test_a_revision_that_fails_leaves_nothing_behind(postgres: Postgres, history: History) -> None:
    url = await postgres.database()
    (history.folder / "0002_broken.py").write_text(BROKEN)
    with pytest.raises(Exception, match="division by zero"):
        await upgrade(url, History("shop", "shop", history.folder))
    assert await migrations._run(url, history, migrations._current) is None


async def test_no_database_is_said_in_one_exception(history: History) -> None:
    with pytest.raises(Unavailable, match="shop database is unavailable"):
        await upgrade(f"postgresql://postgres@127.0.0.1:{free_port()}/nothing", history)
